"""Where the surface of each label runs: the voxels that share a face with another label.

The outside of the image counts as another label, so a structure cut off by the field of view has a surface
there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from medconv.metrics.grid import LabelMap

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Boundary:
    """The boundary voxels of a label map, in an array with a margin of zeros around it.

    The margin lets a search look past the edge of the image without asking.

    Args:
        shape: Of the array, margin included.
        margin: Zeros on either side along each axis.
        points: Places of the boundary voxels in the flattened array, ascending.
        labels: Their labels, one a point.
        flat: The flattened array with nothing but the boundary left.
    """

    shape: tuple[int, ...]
    margin: tuple[int, ...]
    points: IntArray
    labels: LabelMap
    flat: LabelMap

    @property
    def steps(self) -> IntArray:
        """How far one voxel along each axis is in the flattened array."""
        return steps(self.shape)

    def voxels(self, points: IntArray) -> IntArray:
        """Voxel indices ``(n, axes)`` of places in the flattened array, counted with the margin."""
        return np.stack(np.unravel_index(points, self.shape), axis=1)

    def count(self) -> dict[int, int]:
        """Boundary voxels of each label that occurs."""
        values, counts = np.unique(self.labels, return_counts=True)
        return {int(v): int(n) for v, n in zip(values, counts, strict=True)}

    def only(self, wanted: set[int]) -> Boundary:
        """The same without the labels that are not wanted."""
        keep = np.isin(self.labels, list(wanted))
        return _boundary_at(self.points[keep], self.labels[keep], self.shape, self.margin)


def find_boundary(labels: LabelMap, margin: tuple[int, ...]) -> Boundary:
    """Find the boundary of every label other than 0.

    Args:
        labels: Integer map ``(*S)``.
        margin: Zeros to put around it along each axis; at least 1.

    Example:
        >>> find_boundary(np.array([0, 2, 2, 2, 2, 0, 3]), margin=(1,)).flat
        array([0, 0, 2, 0, 0, 2, 0, 3, 0])
    """
    padded = np.pad(labels, [(m, m) for m in margin])
    flat = padded.ravel()
    differs = np.zeros(flat.size, dtype=bool)
    change = np.empty(flat.size, dtype=bool)
    # in the flattened array every axis is one shift; where a shift wraps round it meets the margin
    for step in steps(padded.shape):
        np.not_equal(flat[step:], flat[:-step], out=change[step:])
        differs[step:] |= change[step:]
        differs[:-step] |= change[step:]
    points = np.flatnonzero(differs)
    points = points[flat[points] != 0]
    return _boundary_at(points, flat[points], padded.shape, margin)


def steps(shape: tuple[int, ...]) -> IntArray:
    """How far one voxel along each axis is in a flattened array of this shape.

    Example:
        >>> steps((5, 4, 3)).tolist()
        [12, 3, 1]
    """
    return np.array([int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))], dtype=np.intp)


def _boundary_at(
    points: IntArray, labels: LabelMap, shape: tuple[int, ...], margin: tuple[int, ...]
) -> Boundary:
    flat = np.zeros(int(np.prod(shape)), dtype=labels.dtype)
    flat[points] = labels
    return Boundary(shape, margin, points, labels, flat)
