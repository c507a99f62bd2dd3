"""Folders of microscopy images."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from medconv.datamodules.base import NumWorkers
from medconv.datamodules.files import FileDataModule
from medconv.datamodules.tiers import StoreName
from medconv.errors import DatasetError
from medconv.io import Dataset, ImageLayout, discover
from medconv.io.dataset_rules import LabelKind
from medconv.planning import InstanceTarget
from medconv.transforms.augment_settings import NNUNET, AugmentSettings


class MicroscopyDataModule(FileDataModule):
    """Train on microscopy images, single ones or stacks, with labels or with one number an object.

    Images are PNG, JPEG, BMP, TIFF, OME-TIFF or OME-Zarr. Each is clipped to its own 0.5th and 99.5th percentile and
    z-scored, so 8 and 16 bits go together. A dataset of single images is 2-D. Images smaller than a patch are padded.

    Args:
        root: A folder with the folders ``images`` and ``labels``, where files of one case have one name; a folder with
            ``dataset.json``; or a CSV with the columns ``image,label[,group]``.
        labels: ``instance``: label maps hold one number an object, and the network is trained to tell touching ones
            apart; ``semantic``: they hold labels, also masks of 0 and 255; ``None``: as ``dataset.json`` declares.
        label_names: Of the labels 1, 2, …, or the one of all objects; ``None``: as ``dataset.json`` declares.
        axes: What the axes of the files are, such as ``ZYX``; empty: what they say.
        channels: Channels to read, from 0; empty: all.
        pixel_size_um: Edge of a pixel in µm, one number or one each for rows, columns and slices; empty: what the files
            say. Where nobody says it, lengths are in pixels.
        group_pattern: A regular expression; images in whose paths it finds the same, such as the slices of one stack,
            are never divided between training and validation (see ``medconv.io.group_cases``). ``None``: images in
            one folder below ``images`` are a group, all others a group each.
        spacing_mm: Pixel size to work at, in mm (in pixels where nobody says how large they are), or ``"median"``.
        patch_size: Pixels of a training patch, or ``"auto"``.
        batch_size: Patches in one rank's batch, or ``"auto"``.
        steps_per_epoch: Training batches an epoch, of all ranks together.
        val_fraction: Share of images to validate on (by group); ``None`` is 0.2 without ``num_folds``.
        num_folds: Divide for a cross-validation instead.
        splits: A split file of nnU-Net (``splits_final.json``) instead of a division made here.
        fold: The fold to validate on, from 0.
        seed: Of the split, the order of images, the patches and their augmentation.
        foreground_oversampling: Share of patches centred on a structure.
        augment: Probabilities and ranges.
        num_workers: Processes that load batches from disk.
        store: See ``SegmentationDataModule``.
        cache_dir: Where prepared images are kept.
        normalization: One of ``range``, ``percentile``, ``zscore``, ``ct``, ``none`` for each channel, or ``"auto"``.
        plan: A file of ``medconv plan``.
        test_root: A dataset of images for ``test``; ``None`` tests on the validation part.
        regions: Labels of each region where regions may overlap.
        regions_class_order: The label that each region writes into a mask.
        ignore_label: The value of pixels that nobody labelled.
        skip_bad_cases: Leave out images that cannot be used, with a warning, instead of refusing the dataset.
        instances: How objects are taught: ``{kind: distance, levels: 5}``, shells by their distance to the rim, or
            ``{kind: boundary, width_vox: 2}``, three classes; the network needs ``levels`` or 3 outputs. ``None``:
            five shells. See ``medconv.planning.InstanceTarget``.

    Raises:
        ConfigError: Settings that contradict each other.
        DatasetError: In ``prepare_plan`` or ``setup``: images that cannot be used, all of them listed.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        labels: LabelKind | None = None,
        label_names: list[str] | None = None,
        axes: str = "",
        channels: list[int] | None = None,
        pixel_size_um: float | list[float] | None = None,
        group_pattern: str | None = None,
        spacing_mm: Literal["median"] | list[float] = "median",
        patch_size: Literal["auto"] | list[int] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        steps_per_epoch: int = 250,
        val_fraction: float | None = None,
        num_folds: int | None = None,
        splits: str | Path | None = None,
        fold: int = 0,
        seed: int = 0,
        foreground_oversampling: float = 0.33,
        augment: AugmentSettings = NNUNET,
        num_workers: NumWorkers = "auto",
        store: StoreName = "auto",
        cache_dir: str | Path | None = None,
        normalization: Literal["auto"] | list[str] = "auto",
        plan: str | Path | None = None,
        test_root: str | Path | None = None,
        regions: dict[str, list[int]] | None = None,
        regions_class_order: list[int] | None = None,
        ignore_label: int | None = None,
        skip_bad_cases: bool = False,
        instances: InstanceTarget | None = None,
    ) -> None:
        super().__init__(
            root,
            spacing_mm=spacing_mm,
            patch_size=patch_size,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            val_fraction=val_fraction,
            num_folds=num_folds,
            splits=splits,
            fold=fold,
            seed=seed,
            foreground_oversampling=foreground_oversampling,
            augment=augment,
            num_workers=num_workers,
            store=store,
            cache_dir=cache_dir,
            normalization=normalization,
            plan=plan,
            test_root=test_root,
            skip_bad_cases=skip_bad_cases,
            regions=regions, regions_class_order=regions_class_order, ignore_label=ignore_label,
            labels=labels, label_names=label_names, group_pattern=group_pattern, instances=instances,
        )  # fmt: skip
        self.layout = ImageLayout(axes, tuple(channels or ()), _sizes(pixel_size_um))

    def find(self, root: Path) -> Dataset:
        """See ``FileDataModule`` and ``medconv.io.discover``.

        Raises:
            DatasetError: Its images are no microscopy.
        """
        dataset = discover(root, layout=self.layout)
        if not dataset.is_microscopy:
            name = dataset.cases[0].images[0].name
            raise DatasetError(
                f"{root}: expected microscopy images (TIFF, OME-Zarr, PNG, JPEG, BMP), got {name}; NiftiDataModule "
                "takes volumes"
            )
        return dataset


def _sizes(given: float | list[float] | None) -> tuple[float, ...]:
    return (given,) if isinstance(given, int | float) else tuple(given or ())
