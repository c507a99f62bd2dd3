"""The part of a scan that holds anything: scanners, defacing and skull stripping leave plain zeros around it."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

Box = tuple[tuple[int, int], ...]
"""For each axis the first voxel, and the one after the last."""

MASKED_BELOW = 0.75
"""Share of the voxels that cropping keeps in the median case, below which intensities are normalised in a mask."""


def nonzero_box(data: npt.NDArray[Any]) -> Box:
    """The smallest box that holds every voxel that is not 0 in every channel; all of a volume that is 0.

    Args:
        data: ``(C, *S)``.

    Cost:
        Looks at slices from outside until one is not empty: almost nothing where there is nothing to crop.

    Example:
        >>> nonzero_box(np.array([[[0, 0, 0], [0, 7, 0]]]))
        ((1, 2), (1, 2))
    """
    if not data.any():
        return tuple((0, size) for size in data.shape[1:])
    box = []
    for axis in range(1, data.ndim):
        slices = np.moveaxis(data, axis, 0)
        low, high = 0, len(slices)
        while not slices[low].any():
            low += 1
        while not slices[high - 1].any():
            high -= 1
        box.append((low, high))
        data = np.moveaxis(slices[low:high], 0, axis)
    return tuple(box)


def body_mask(data: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Voxels that are not 0 in every channel, and those that they enclose; all voxels of a volume that is 0.

    Args:
        data: ``(C, *S)``.

    Shape:
        - Output ``(*S)``.

    Example:
        >>> body_mask(np.array([[[0, 5, 5, 5], [0, 5, 0, 5], [0, 5, 5, 5]]])).sum()
        np.int64(9)
    """
    mask: npt.NDArray[np.bool_] = np.asarray(data.any(axis=0))
    if not mask.any():
        return ~mask
    flat = [axis for axis, size in enumerate(mask.shape) if size == 1]
    filled: npt.NDArray[np.bool_] = scipy.ndimage.binary_fill_holes(mask.squeeze(tuple(flat))).reshape(
        mask.shape
    )
    return filled


def kept_share(shape: tuple[int, ...], box: Box) -> float:
    """Share of the voxels that lie in a box.

    Example:
        >>> kept_share((10, 10), ((0, 5), (2, 10)))
        0.4
    """
    return prod(high - low for low, high in box) / prod(shape)
