"""One folder an image, as in the Data Science Bowl 2018: ``ID/images/ID.png``, and in ``ID/masks`` a mask an object."""

from __future__ import annotations

from pathlib import Path

from medconv.io.cases import Case, Dataset, check_cases, is_hidden
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.readers import is_volume

_IMAGES, _MASKS, _EVERY_MASK = "images", "masks", "*.png"
_NAMES = {0: "background", 1: "object"}


def is_object_folders(root: Path) -> bool:
    """Whether a folder has this layout, by the first folder in it."""
    first = min((p for p in root.iterdir() if p.is_dir() and not is_hidden(p)), default=None)
    return first is not None and (first / _IMAGES).is_dir() and (first / _MASKS).is_dir()


def read_object_folders(root: Path, tolerated: list[str] | None = None) -> Dataset:
    """The images with the masks of single objects as label maps that number them.

    Args:
        root: The folder of the folders.
        tolerated: Where given, problems are added here and their cases left out.

    Raises:
        DatasetError: Folders without one image or without masks; all of them are listed.
    """
    problems = [] if tolerated is None else tolerated
    cases = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not is_hidden(p)):
        images = [p for p in sorted(folder.glob(f"{_IMAGES}/*")) if is_volume(p) and not is_hidden(p)]
        if len(images) != 1 or not (folder / _MASKS).is_dir():
            problems.append(
                f"{folder.name}: expected one file in images and a folder masks, got {len(images)} file(s)"
            )
        else:
            cases.append(Case(folder.name, (images[0],), folder / _MASKS / _EVERY_MASK, folder.name))
    found = check_cases(root, cases, problems, tolerant=tolerated is not None)
    return Dataset.declaring(root, found, (), DeclaredLabels(_NAMES, instances=True))
