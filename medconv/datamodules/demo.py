"""A dataset that needs no download: synthetic scans or cells, written as real files at the first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from medconv.datamodules.base import NumWorkers
from medconv.datamodules.demo_flavours import FLAVOURS, VOLUMES, FlavourName
from medconv.datamodules.demo_folder import generate_demo
from medconv.datamodules.files import FileDataModule
from medconv.datamodules.tiers import StoreName
from medconv.errors import ConfigError
from medconv.io import Case, Dataset, discover, stem_of
from medconv.transforms.augment_settings import NNUNET, AugmentSettings

_VERSIONS = {VOLUMES: 1, "microscopy": 1}
"""Of the generators: a change of one makes every demo folder of its flavour be generated anew."""


class DemoDataModule(FileDataModule):
    """Two touching bent structures at random pose in noisy, unevenly lit, oblique scans; or touching cells.

    ``flavour: microscopy`` are fluorescence images of cells of random shape and pose, many of them touching, in shot
    noise and uneven light, as TIFF files of known pixel size, whose label maps number the cells.

    The files are a dataset like any other (Medical Segmentation Decathlon layout, with ``imagesTs`` and
    ``labelsTs`` beside). ``test`` measures on those, which never train. The folder is generated in seconds,
    the same everywhere for the same seed, and reused while the numbers below stay the same.

    Args:
        root: The folder to generate, or the one generated before.
        flavour: ``volumes`` (NIfTI) or ``microscopy`` (TIFF).
        num_cases: Scans to train and validate on.
        num_test_cases: Scans for ``test`` only.
        demo_seed: Of the scans.
        spacing_mm: As for ``FileDataModule``, like all below.
        patch_size: Voxels of a training patch.
        batch_size: Patches in one rank's batch.
        steps_per_epoch: Training batches an epoch, of all ranks together.
        val_fraction: Share of cases to validate on.
        num_folds: Divide for a cross-validation instead.
        fold: The fold to validate on.
        seed: Of the split, the order of cases, the patches and their augmentation.
        foreground_oversampling: Share of patches centred on a structure.
        augment: Probabilities and ranges.
        num_workers: Processes that load batches from disk.
        store: See ``SegmentationDataModule``.
        cache_dir: Where prepared cases are kept; ``None`` is ``cache`` in ``root``.

    Raises:
        ConfigError: Too few cases, or settings that contradict each other.
        NotADatasetError: In ``prepare_plan``: ``root`` holds something else, which is never overwritten.
    """

    def __init__(
        self,
        root: str | Path = "data/demo",
        *,
        flavour: FlavourName = VOLUMES,
        num_cases: int = 32,
        num_test_cases: int = 8,
        demo_seed: int = 0,
        spacing_mm: Literal["median"] | list[float] = "median",
        patch_size: Literal["auto"] | list[int] = "auto",
        batch_size: int = 2,
        steps_per_epoch: int = 250,
        val_fraction: float | None = None,
        num_folds: int | None = None,
        fold: int = 0,
        seed: int = 0,
        foreground_oversampling: float = 0.33,
        augment: AugmentSettings = NNUNET,
        num_workers: NumWorkers = "auto",
        store: StoreName = "auto",
        cache_dir: str | Path | None = None,
    ) -> None:
        if num_cases < 2 or num_test_cases < 1 or demo_seed < 0:
            raise ConfigError(
                f"expected num_cases >= 2, num_test_cases >= 1 and demo_seed >= 0; "
                f"got {num_cases}, {num_test_cases} and {demo_seed}"
            )
        if flavour not in FLAVOURS:
            raise ConfigError(f"expected flavour {' or '.join(FLAVOURS)}, got {flavour!r}")
        super().__init__(
            root,
            spacing_mm=spacing_mm,
            patch_size=patch_size,
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            val_fraction=val_fraction,
            num_folds=num_folds,
            fold=fold,
            seed=seed,
            foreground_oversampling=foreground_oversampling,
            augment=augment,
            num_workers=num_workers,
            store=store,
            cache_dir=cache_dir or Path(root) / "cache",
        )
        self.flavour = flavour
        self.parameters: dict[str, int | str] = {
            "version": _VERSIONS[flavour],
            "num_cases": num_cases,
            "num_test_cases": num_test_cases,
            "demo_seed": demo_seed,
            # a folder of an older medconv is one of volumes and stays valid
            **({} if flavour == VOLUMES else {"flavour": flavour}),
        }

    def find(self, root: Path) -> Dataset:
        """See ``FileDataModule`` and ``medconv.io.discover``."""
        return discover(root)

    def prepare_plan(self) -> None:
        """Generate the folder if it is not there yet, then plan as for any dataset.

        Raises:
            NotADatasetError: ``root`` holds something else.
        """
        if self.dataset is None:
            generate_demo(self.root, self.parameters)
        super().prepare_plan()

    @property
    def has_test_cases(self) -> bool:
        """Always."""
        return True

    def find_test_cases(self) -> Sequence[Case]:
        """The scans in ``imagesTs``."""
        self.prepare_plan()
        images = sorted((self.root / "imagesTs").glob(f"*{FLAVOURS[self.flavour].suffix}"))
        labels = self.root / "labelsTs"
        return [Case(stem_of(image), (image,), labels / image.name, stem_of(image)) for image in images]
