"""One mask an object, as the Data Science Bowl 2018 has them beside each image, read as one label map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from medconv.errors import BadImageError
from medconv.io.geometry import require_same_grid
from medconv.io.layout import AS_STORED, ImageLayout
from medconv.io.microscopy import read as single
from medconv.io.microscopy.formats import mask_files
from medconv.io.nifti.header import Header
from medconv.io.nifti.label_values import to_labels
from medconv.io.volume import Volume


def read_header(path: str | Path, *, layout: ImageLayout = AS_STORED) -> Header:
    """Shape and geometry of the first mask.

    Args:
        path: A pattern, such as ``ID/masks/*.png``.
        layout: What the user states about axes and pixel size.

    Raises:
        BadImageError: Nothing matches it, or the file cannot be used.
    """
    return single.read_header(_masks(Path(path))[0], layout=layout)


def read_volume(path: str | Path, **_: object) -> Volume:
    """Refuse: masks are no image.

    Raises:
        BadImageError: Always.
    """
    raise BadImageError(
        f"{path}: expected one image, got a pattern, which is for masks of single objects; name the file"
    )


def read_labels(
    path: str | Path,
    *,
    allowed: Collection[int] | None = None,
    like: Volume | None = None,
    layout: ImageLayout = AS_STORED,
) -> Volume:
    """Number the masks from 1 in the order of their names; pixels of two masks belong to the smaller object.

    Args:
        path: A pattern, such as ``ID/masks/*.png``.
        allowed: Every value that may occur; ``None`` allows all. If it has no number above 1, all objects become 1.
        like: The image on whose grid the masks must lie.
        layout: What the user states about axes and pixel size.

    Raises:
        BadImageError: No mask, one that cannot be used, an empty one, or numbers that are not allowed.
        GeometryError: A mask on another grid.
    """
    masks = [
        single.read_labels(mask, allowed={0, 1}, like=like, layout=layout) for mask in _masks(Path(path))
    ]
    for other in masks[1:]:
        require_same_grid(masks[0], other)
    empty = [mask.name for mask in masks if not mask.data.any()]
    if empty:
        raise BadImageError(f"{path}: expected an object in every mask, {empty[0]} is empty; remove it")
    objects = np.zeros(masks[0].data.shape, np.int32)
    join = allowed is not None and max(allowed, default=0) <= 1
    # the smallest last, so that it stays whole
    for number in sorted(range(len(masks)), key=lambda n: -int(masks[n].data.sum())):
        objects[masks[number].data > 0] = 1 if join else number + 1
    return replace(masks[0], data=to_labels(objects, str(path), allowed), path=Path(path))


def _masks(pattern: Path) -> list[Path]:
    found = mask_files(pattern)
    if not found:
        raise BadImageError(
            f"{pattern}: expected a mask an object, found none; draw them, or leave the image out"
        )
    return found
