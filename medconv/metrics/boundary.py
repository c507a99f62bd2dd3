"""Where the surface of each label runs: the voxels that share a face with another label.

The outside of the image counts as another label, so a structure cut off by the field of view has a surface
there, unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import numpy.typing as npt

from medconv.metrics.grid import LabelMap
from medconv.types import FloatArray

IntArray = npt.NDArray[np.intp]
Box = tuple[slice | int, ...]

_CHUNK_VOXELS = 1 << 19
"""Voxels compared at a time, so that a map and its neighbours stay in the cache."""


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
        counts = np.bincount(self.labels)
        return {int(label): int(counts[label]) for label in np.flatnonzero(counts)}

    def by_label(self, values: FloatArray) -> dict[int, FloatArray]:
        """One value a point, apart by label."""
        order = np.argsort(self.labels, kind="stable")
        counts = self.count()
        parts = np.split(values[order], np.cumsum(list(counts.values()))[:-1])
        return dict(zip(counts, parts, strict=False))

    def only(self, wanted: set[int]) -> Boundary:
        """The same without the labels that are not wanted."""
        keep = np.isin(self.labels, list(wanted))
        points, labels = self.points[keep], self.labels[keep]
        flat = np.zeros_like(self.flat)
        flat[points] = labels
        return Boundary(self.shape, self.margin, points, labels, flat)


def find_boundary(
    labels: LabelMap,
    margin: tuple[int, ...],
    cut: Sequence[tuple[bool, bool]] = (),
    unknown: int | None = None,
) -> Boundary:
    """Find the boundary of every label other than 0.

    Args:
        labels: Unsigned integer map ``(*S)``.
        margin: Zeros to put around it along each axis; at least 1.
        cut: For each axis, whether the map goes on beyond its low and its high end as it ends there, so that
            the end is no boundary. Nothing lies beyond any end if it is not given.
        unknown: A label without a boundary; where another borders on nothing else, that is none either.

    Cost:
        Reads and writes each voxel once; all comparisons happen within the processor's cache.

    Example:
        >>> find_boundary(np.array([0, 2, 2, 2, 2, 0, 3], np.uint8), margin=(1,)).flat
        array([0, 0, 2, 0, 0, 2, 0, 3, 0], dtype=uint8)
        >>> find_boundary(np.array([0, 2, 2, 2, 9, 9, 3], np.uint8), margin=(1,), unknown=9).flat
        array([0, 0, 2, 0, 0, 0, 0, 3, 0], dtype=uint8)
    """
    shape = tuple(n + 2 * m for n, m in zip(labels.shape, margin, strict=True))
    padded = np.zeros(shape, labels.dtype)
    padded[tuple(slice(m, m + n) for n, m in zip(labels.shape, margin, strict=True))] = labels
    beyond = list(_beyond(shape, margin, cut))
    for outside, last in beyond:
        padded[outside] = padded[last]
    flat = padded.reshape(-1)
    rim = margin[0] * int(steps(shape)[0])
    per_word = max(1, 8 // labels.itemsize)
    kept = np.zeros(-(-flat.size // per_word) * per_word, labels.dtype)
    _keep_boundary(flat, rim, steps(shape).tolist(), kept)
    for outside, _ in beyond:
        kept[: flat.size].reshape(shape)[outside] = 0
    points = _nonzero(kept, per_word)
    if unknown is not None:
        points = _without_unknown(points, flat, kept, steps(shape), unknown)
    return Boundary(shape, margin, points, kept[points], kept[: flat.size])


def _without_unknown(
    points: IntArray, flat: LabelMap, kept: LabelMap, shifts: IntArray, unknown: int
) -> IntArray:
    """The points that are known and border on something known; the others are taken out of ``kept`` too."""
    own = flat[points]
    borders = np.zeros(len(points), bool)
    for shift in (*shifts, *-shifts):
        beside = flat[points + shift]
        borders |= (beside != own) & (beside != unknown)
    stays = borders & (own != unknown)
    kept[points[~stays]] = 0
    result: IntArray = points[stays]
    return result


def _beyond(
    shape: tuple[int, ...], margin: tuple[int, ...], cut: Sequence[tuple[bool, bool]]
) -> Iterator[tuple[Box, Box]]:
    """The layer next to each cut end, and the last layer before it."""
    for axis, ends in enumerate(cut):
        low, high = margin[axis], shape[axis] - margin[axis] - 1
        places = (low - 1, low), (high + 1, high)
        for place in (places[i] for i in (0, 1) if ends[i]):
            outside, last = ((slice(None),) * axis + (p,) for p in place)
            yield outside, last


def _keep_boundary(flat: LabelMap, rim: int, shifts: list[int], kept: LabelMap) -> None:
    """Copy what differs from a neighbour; in the flattened array every axis is one shift.

    Where a shift wraps round it meets the margin.
    """
    scratch = np.empty((2, _CHUNK_VOXELS), dtype=bool)
    for low in range(rim, flat.size - rim, _CHUNK_VOXELS):
        high = min(low + _CHUNK_VOXELS, flat.size - rim)
        here, (differs, change) = flat[low:high], scratch[:, : high - low]
        differs[:] = False
        for shift in [*shifts, *(-s for s in shifts)]:
            np.not_equal(here, flat[low + shift : high + shift], out=change)
            np.logical_or(differs, change, out=differs)
        np.multiply(here, differs.view(np.uint8), out=kept[low:high])


def _nonzero(flat: LabelMap, per_word: int) -> IntArray:
    """Places other than 0, ascending; nearly all voxels are passed over eight bytes at a time."""
    words = flat.view(np.uint64)
    hot = np.flatnonzero(words != 0)
    inside = np.flatnonzero(words[hot].view(flat.dtype))
    shift = per_word.bit_length() - 1
    points: IntArray = (hot[inside >> shift] << shift) + (inside & (per_word - 1))
    return points


@lru_cache(maxsize=256)
def steps(shape: tuple[int, ...]) -> IntArray:
    """How far one voxel along each axis is in a flattened array of this shape.

    Example:
        >>> steps((5, 4, 3)).tolist()
        [12, 3, 1]
    """
    distances = np.array([prod(shape[axis + 1 :]) for axis in range(len(shape))], dtype=np.intp)
    distances.setflags(write=False)  # all callers share it
    return distances
