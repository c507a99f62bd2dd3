"""Which prediction belongs to which reference: by name, and nothing is left unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medconv.errors import ConfigError, DatasetError
from medconv.io import ImageLayout, discover, is_volume, stem_of, supported_suffixes
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.layout import AS_STORED
from medconv.io.readers import without_pictures

_FIRST_CHANNEL = re.compile(r"(?P<case>.+)_0000")


@dataclass(frozen=True)
class Pair:
    """One case: its files.

    Args:
        case_id: The reference's name without suffix.
        prediction: The mask to measure.
        reference: The truth.
        image: What was segmented, for pictures; ``None`` where nobody knows.
        layout: What the user states about axes and pixel size of microscopy files.
    """

    case_id: str
    prediction: Path
    reference: Path
    image: Path | None = None
    layout: ImageLayout = AS_STORED


@dataclass(frozen=True)
class Matching:
    """Every pair, and everything that is none.

    Args:
        pairs: By case.
        without_prediction: Cases that have a reference only.
        without_reference: Predictions that have no reference.
        problems: Cases that cannot be paired, and why, by name.
        declared: What the dataset of the references declares about its labels; nothing where there is none.
    """

    pairs: tuple[Pair, ...]
    without_prediction: tuple[str, ...]
    without_reference: tuple[str, ...]
    problems: Mapping[str, str]
    declared: DeclaredLabels

    @property
    def label_names(self) -> Mapping[int, str]:
        """Names that the dataset declares; empty where it declares none."""
        return self.declared.names


def match_cases(
    predictions: str | Path,
    references: str | Path,
    images: str | Path | None = None,
    layout: ImageLayout | None = None,
) -> Matching:
    """Pair predictions with references by name.

    ``CASE.nii`` and ``CASE.nii.gz`` are one name, and nnU-Net's channel number ``_0000`` belongs to none.

    Args:
        predictions: A folder of masks, or one file.
        references: A folder of masks, one file, or a dataset (Medical Segmentation Decathlon, nnU-Net raw, CSV),
            whose labels are then the references.
        images: A folder of the images that were segmented; ``None`` takes those of the dataset, or the folder
            ``imagesX`` beside ``labelsX``.
        layout: What the user states about axes and pixel size of microscopy files.

    Raises:
        ConfigError: There is no such file or folder, a folder holds no masks, or one file stands against a folder.
        DatasetError: The dataset is described wrongly.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("pred/a_0000.nii", "pred/b.nii.gz", "ref/a.nii.gz", "ref/c.nii.gz"):
        ...     (root / name).parent.mkdir(exist_ok=True)
        ...     (root / name).touch()
        >>> found = match_cases(root / "pred", root / "ref")
        >>> [pair.case_id for pair in found.pairs], found.without_prediction, found.without_reference
        (['a'], ('c',), ('b',))
    """
    pred_path, ref_path = Path(predictions), Path(references)
    declared = DeclaredLabels()
    truth_images: dict[str, Path] = {}
    problems: dict[str, str] = {}
    if _is_dataset(ref_path):
        truth, truth_images, declared = _dataset_labels(ref_path)
    else:
        truth = _by_name(ref_path, "reference", problems)
    masks = _by_name(pred_path, "prediction", problems)
    if is_volume(pred_path) != (is_volume(ref_path) and not _is_dataset(ref_path)):
        raise ConfigError(
            f"expected two files or two folders, got {pred_path} and {ref_path}; name both files, or folders"
        )
    if is_volume(pred_path):
        masks = dict(zip(truth, masks.values(), strict=True))
    truth_images |= _by_name(Path(images), "image", {}) if images else _beside(ref_path)
    stated = layout or AS_STORED
    shared = [name for name in truth if name in masks and name not in problems]
    return Matching(
        pairs=tuple(
            Pair(name, masks[name], truth[name], truth_images.get(name), stated) for name in sorted(shared)
        ),
        without_prediction=tuple(sorted(truth.keys() - masks.keys() - problems.keys())),
        without_reference=tuple(sorted(masks.keys() - truth.keys() - problems.keys())),
        problems=problems,
        declared=declared,
    )


def _is_dataset(path: Path) -> bool:
    return path.suffix.lower() == ".csv" or path.name == "dataset.json" or (path / "dataset.json").is_file()


def _dataset_labels(path: Path) -> tuple[dict[str, Path], dict[str, Path], DeclaredLabels]:
    folder = path if path.is_dir() else path.parent
    if _volumes(folder):
        # a folder of masks that carries the description with it, as nnU-Net leaves one beside predictions
        raise ConfigError(
            f"{path}: expected a dataset or a folder of masks, got both in one; name dataset.json"
        )
    dataset = discover(path)
    labelled = [case for case in dataset.cases if case.label is not None]
    if not labelled:
        raise DatasetError(f"{path}: expected cases with labels, got none")
    truth = {case.case_id: case.label for case in labelled if case.label is not None}
    return truth, {case.case_id: case.images[0] for case in labelled}, dataset.labels


def _by_name(path: Path, role: str, problems: dict[str, str]) -> dict[str, Path]:
    """The files of a folder by case; names that two files claim go to ``problems``."""
    if not path.exists():
        raise ConfigError(f"no {role} file or folder {path}; relative paths start at {Path.cwd()}")
    files = [path] if path.is_file() or is_volume(path) else _volumes(path)
    if not files:
        raise ConfigError(
            f"expected {role}s ending in {', '.join(supported_suffixes())} in {path}, found none"
        )
    found: dict[str, Path] = {}
    for file in files:
        name = _case_of(file)
        if name in found:
            problems[name] = f"two {role}s of one name, {found[name].name} and {file.name}; remove one"
        found[name] = file
    return found


def _case_of(path: Path) -> str:
    stem = stem_of(path)
    match = _FIRST_CHANNEL.fullmatch(stem)
    return match["case"] if match else stem


def _volumes(folder: Path) -> list[Path]:
    files: Iterable[Path] = folder.iterdir() if folder.is_dir() else ()
    return without_pictures(sorted(f for f in files if is_volume(f) and not f.name.startswith(".")))


def _beside(references: Path) -> dict[str, Path]:
    """The first channel of each image in ``imagesX``, if the references lie in ``labelsX``."""
    folder = references if references.is_dir() else references.parent
    images = folder.with_name(folder.name.replace("labels", "images", 1))
    if images == folder:
        return {}
    return {_case_of(path): path for path in reversed(_volumes(images))}
