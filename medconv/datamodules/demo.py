"""A dataset that needs no download: synthetic scans, written as real NIfTI files at the first use."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from medconv.datamodules.base import NumWorkers
from medconv.datamodules.demo_volumes import LABEL_NAMES, draw_volume
from medconv.datamodules.nifti import NiftiDataModule
from medconv.datamodules.store import StoreName
from medconv.errors import ConfigError, DatasetError
from medconv.io import Case, stem_of, volume_from_array, write_labels, write_volume
from medconv.transforms.augment_settings import NNUNET, AugmentSettings

_VERSION = 1
"""Of the generator: a change of it makes every demo folder be generated anew."""

_PARAMETERS = "demo.json"


class DemoDataModule(NiftiDataModule):
    """Two touching bent structures at random pose in noisy, unevenly lit, oblique scans.

    The files are a dataset like any other (Medical Segmentation Decathlon layout, with ``imagesTs`` and
    ``labelsTs`` beside). ``test`` measures on those, which never train. The folder is generated in seconds,
    the same everywhere for the same seed, and reused while the numbers below stay the same.

    Args:
        root: The folder to generate, or the one generated before.
        num_cases: Scans to train and validate on.
        num_test_cases: Scans for ``test`` only.
        demo_seed: Of the scans.
        spacing_mm: As for ``NiftiDataModule``, like all below.
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
        DatasetError: In ``prepare_plan``: ``root`` holds something else, which is never overwritten.
    """

    def __init__(
        self,
        root: str | Path = "data/demo",
        *,
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
        self.parameters = {
            "version": _VERSION,
            "num_cases": num_cases,
            "num_test_cases": num_test_cases,
            "demo_seed": demo_seed,
        }

    def prepare_plan(self) -> None:
        """Generate the folder if it is not there yet, then plan as for any dataset.

        Raises:
            DatasetError: ``root`` holds something else.
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
        images = sorted((self.root / "imagesTs").glob("*.nii.gz"))
        labels = self.root / "labelsTs"
        return [Case(stem_of(image), (image,), labels / image.name, stem_of(image)) for image in images]


def generate_demo(root: str | Path, parameters: dict[str, int]) -> None:
    """Write the demo dataset, whole or not at all, unless it is there already with the same parameters.

    Several processes may do this at once: each makes its own folder, the first to finish gives it its name.

    Raises:
        DatasetError: ``root`` holds something that is not a demo dataset.
    """
    root = Path(root)
    if _parameters_of(root) == parameters:
        return
    if root.exists() and (not root.is_dir() or (any(root.iterdir()) and _parameters_of(root) is None)):
        raise DatasetError(
            f"{root}: holds something other than a demo dataset, which is not overwritten; give another root"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{root.name}.tmp", dir=root.parent))
    try:
        made.chmod(0o755)
        _write_dataset(made, parameters)
        _take_place(made, root)
    except OSError:
        if _parameters_of(root) != parameters:  # else another process was faster with the same
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _parameters_of(root: Path) -> Any:
    """What a demo folder was generated with; ``None`` for any other folder."""
    try:
        return json.loads((root / _PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _take_place(made: Path, root: Path) -> None:
    if root.exists():
        outdated = Path(tempfile.mkdtemp(prefix=f".{root.name}.tmp", dir=root.parent))
        try:
            root.replace(outdated)
            made.replace(root)
        finally:
            shutil.rmtree(outdated, ignore_errors=True)
    else:
        made.replace(root)


def _write_dataset(folder: Path, parameters: dict[str, int]) -> None:
    training, test = parameters["num_cases"], parameters["num_test_cases"]
    names = [(f"demo_{i:03d}.nii.gz", "Tr" if i < training else "Ts") for i in range(training + test)]
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        jobs = [
            pool.submit(_write_case, folder, name, part, parameters["demo_seed"], i)
            for i, (name, part) in enumerate(names)
        ]
        for job in jobs:
            job.result()
    (folder / "dataset.json").write_text(json.dumps(_description(names), indent=2), encoding="utf-8")
    (folder / _PARAMETERS).write_text(json.dumps(parameters), encoding="utf-8")


def _write_case(folder: Path, name: str, part: str, seed: int, number: int) -> None:
    scan = draw_volume(seed, number)
    like = volume_from_array(scan.image, affine=scan.affine)
    write_volume(folder / f"images{part}" / name, scan.image, like)
    write_labels(folder / f"labels{part}" / name, scan.label, like, LABEL_NAMES)


def _description(names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    training = [name for name, part in names if part == "Tr"]
    test = [name for name, part in names if part == "Ts"]
    return {
        "name": "medconv demo",
        "description": "Synthetic scans of two touching bent structures, generated by medconv",
        "tensorImageSize": "3D",
        "modality": {"0": "MRI"},
        "labels": {str(value): name for value, name in LABEL_NAMES.items()},
        "numTraining": len(training),
        "numTest": len(test),
        "training": [{"image": f"./imagesTr/{n}", "label": f"./labelsTr/{n}"} for n in training],
        "test": [f"./imagesTs/{n}" for n in test],
    }
