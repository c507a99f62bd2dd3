"""Which slices of a volume to look at, and how they lie on paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Plane:
    """One slice: the array axes across and up the paper, and where along the third it lies.

    Args:
        across: Array axis drawn from left to right.
        up: Array axis drawn from bottom to top (top to bottom for 2-D images).
        through: Array axis that is cut; ``None`` for a 2-D image.
        index: Where it is cut.
    """

    across: int
    up: int
    through: int | None = None
    index: int = 0

    def cut(self, array: Array) -> Array:
        """The slice of ``array``, rows up and columns across."""
        flat = array if self.through is None else np.take(array, self.index, axis=self.through)
        return flat.T if self.across < self.up else flat


def planes_of(*label_maps: Array, shape: tuple[int, ...]) -> list[Plane]:
    """The planes to draw: the image itself in 2-D, three orthogonal ones through the structures in 3-D.

    Args:
        label_maps: Where structures are looked for; the first one that has any decides.
        shape: Of the volume.

    Example:
        >>> labels = np.zeros((4, 6, 8), int)
        >>> labels[1, 2:4, 5] = 1
        >>> [(plane.through, plane.index) for plane in planes_of(labels, shape=labels.shape)]
        [(2, 5), (1, 2), (0, 1)]
    """
    if len(shape) == 2:
        return [Plane(across=1, up=0)]
    labels = next((m for m in label_maps if m.any()), np.zeros(shape, np.uint8))
    point = [_richest_slice(labels, axis) for axis in range(3)]
    return [Plane(a, b, c, point[c]) for a, b, c in ((0, 1, 2), (0, 2, 1), (1, 2, 0))]


def disagreement(truth: Array, prediction: Array) -> Array:
    """The largest piece in which two label maps differ, as a mask; empty where they agree.

    Example:
        >>> truth, prediction = np.zeros((4, 6, 8), int), np.zeros((4, 6, 8), int)
        >>> truth[0, 0, 0], prediction[2, 3:5, 6] = 1, 1
        >>> disagreement(truth, prediction).nonzero()[0].tolist()
        [2, 2]
    """
    pieces, count = ndimage.label(truth != prediction)
    if not count:
        return np.zeros(truth.shape, np.uint8)
    sizes = np.bincount(pieces.ravel())[1:]
    return (pieces == 1 + int(sizes.argmax())).astype(np.uint8)


def _richest_slice(labels: Array, axis: int) -> int:
    """The slice in which every class shows as much of itself as possible; the middle one if there is none."""
    slices = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
    areas = [(slices == label).sum(1) for label in np.unique(labels[labels > 0])]
    if not areas:
        return len(slices) // 2
    score = sum(area / area.max() for area in areas)
    best = np.flatnonzero(score >= np.max(score) - 1e-9)
    return int(best[(len(best) - 1) // 2])
