"""From what a network says about objects to a map of numbered ones, strip by strip, without seams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import skimage

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, ShapeError

Fields = npt.NDArray[np.floating[Any]]
Objects = npt.NDArray[np.unsignedinteger[Any]]

STRIP_VOXELS = 2**23
"""Of the strip that is flooded at once, its surroundings left out."""

_HALO = 32
_FIRST, _APART = -3.0, 1e-10
"""Depths of seeds: below all others, and never equal."""

_BYTES_A_STRIP_VOXEL = 64
_MOST_VOXELS = 2**40


@dataclass(frozen=True)
class Separation:
    """Where objects begin, and where one ends and the next begins.

    Args:
        mask_threshold: Voxels with a larger probability of the foreground belong to objects.
        seed_threshold: Each connected part of them with a larger height is the seed of one object; a lower threshold
            joins objects, a higher one splits or loses them.
        min_voxels: Smaller objects are left out.

    Raises:
        ConfigError: A value out of its range.
    """

    mask_threshold: float = 0.5
    seed_threshold: float = 0.5
    min_voxels: int = 1

    def __post_init__(self) -> None:
        for name in ("mask_threshold", "seed_threshold"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
                raise ConfigError(f"instances.{name}: expected a number between 0 and 1, got {value!r}")
        least = self.min_voxels
        if isinstance(least, bool) or not isinstance(least, int) or not 1 <= least <= _MOST_VOXELS:
            raise ConfigError(f"instances.min_voxels: expected a whole number from 1, got {least!r}")

    def to_dict(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Separation:
        """The inverse of :meth:`to_dict`; nothing is ignored.

        Raises:
            ConfigError: No mapping, an unknown key or a value out of its range.
        """
        names = [entry.name for entry in fields(cls)]
        if not isinstance(values, Mapping):
            raise ConfigError(f"instances: expected {', '.join(names)}, got {values!r:.80}")
        for key in values:
            if key not in names:
                raise ConfigError(
                    f"instances: no {key!r}{did_you_mean(str(key), names)}. All: {', '.join(names)}"
                )
        return cls(**values)


def separate(
    fields: Fields,
    separation: Separation | None = None,
    *,
    strip_voxels: int = STRIP_VOXELS,
    halo: int = _HALO,
) -> Objects:
    """Number the objects: seeds where the height is large, grown downhill until they meet or the mask ends.

    Large maps are flooded strip by strip along the first axis, each with a halo. What might flow in over the edge
    of the halo flows from there as a flood of its own; a strip that it reaches is done again with a larger halo.
    So the result is that of the whole map at once, to the voxel, however large objects are.

    Args:
        fields: ``(2, *S)`` from 0 to 1: probability of the foreground, and height; see ``instance_fields``.
        separation: The thresholds.
        strip_voxels: About how many voxels are flooded at once.
        halo: Rows on either side of a strip at first.

    Returns:
        ``(*S)``: 0 background, objects from 1 without gaps in the order of their seeds; of the smallest unsigned
        integer type.

    Raises:
        ShapeError: Not two fields.

    Cost:
        4 bytes a voxel of the map and about ``64 strip_voxels``; about 1 s for 4 million voxels of foreground.

    Example:
        >>> height = np.array([0.2, 0.9, 0.4, 0.3, 0.4, 0.8, 0.3, 0.0])
        >>> separate(np.stack([(height > 0).astype(float), height]))
        array([1, 1, 1, 1, 2, 2, 2, 0], dtype=uint8)

    Source: Meyer, "Topographic distance and watershed lines", Signal Processing 1994.
    """
    separation = separation or Separation()
    if fields.ndim < 2 or len(fields) != 2:
        raise ShapeError(f"expected two fields (2, *S), foreground and height, got {fields.shape}")
    shape = fields.shape[1:]
    flat = fields.reshape(2, *([size for size in shape if size > 1] or [1]))
    objects = _Flood(flat, separation, halo).run(max(1, strip_voxels // max(1, prod(flat.shape[2:]))))
    return _numbered(objects, separation.min_voxels).reshape(shape)


def separation_bytes(shape: Sequence[int]) -> int:
    """Main memory that :func:`separate` takes beside the fields."""
    voxels = prod(shape)
    # the map of objects, its mask of seeds, and a map of a smaller type; and the strip with its halo
    return 8 * voxels + _BYTES_A_STRIP_VOXEL * min(voxels, 2 * STRIP_VOXELS)


class _Flood:
    """Grow the seeds of a map; its first axis is cut into strips."""

    def __init__(self, fields: Fields, separation: Separation, halo: int) -> None:
        self._foreground, self._height = fields
        self._mask_threshold, self._seed_threshold = separation.mask_threshold, separation.seed_threshold
        self._halo = max(1, halo)
        self._size = len(self._height)
        seeds = np.empty(self._height.shape, bool)
        for start in range(0, self._size, _rows_of(self._height.shape)):
            rows = slice(start, start + _rows_of(self._height.shape))
            seeds[rows] = self._mask(rows) & (self._height[rows] > self._seed_threshold)
        # by faces only: where two objects touch by a corner they stay two
        self._objects = np.empty(self._height.shape, np.int32)
        self._count = int(scipy.ndimage.label(seeds, output=self._objects))

    def run(self, rows: int) -> npt.NDArray[np.int32]:
        """All objects, from strips of so many rows."""
        for start in range(0, self._size, rows):
            stop = min(start + rows, self._size)
            self._objects[start:stop] = self._strip(start, stop)
        return self._objects

    def _strip(self, start: int, stop: int) -> npt.NDArray[np.int32]:
        """One strip: with a halo that is as large as it has to be."""
        halo = self._halo
        while True:
            first, last = max(0, start - halo), min(self._size, stop + halo)
            flooded = self._flood(first, last)[start - first : stop - first]
            if not (flooded > self._count).any():
                return flooded
            halo *= 2

    def _flood(self, first: int, last: int) -> npt.NDArray[np.int32]:
        rows = slice(first, last)
        mask, depth = self._mask(rows), -self._height[rows].astype(np.float64)
        # rows before may be grown already, so what is a seed is asked again
        seeds = mask & (self._height[rows] > self._seed_threshold)
        markers = np.where(seeds, self._objects[rows], 0)
        # one after the other: among equals the order would depend on what else is in the strip
        deepest_first = np.argsort(depth[seeds], kind="stable")
        places = np.empty(len(deepest_first))
        places[deepest_first] = np.arange(len(places))
        depth[seeds] = _FIRST + _APART * places
        for edge, is_cut in ((0, first > 0), (-1, last < self._size)):
            if is_cut:
                markers[edge][mask[edge] & (markers[edge] == 0)] = self._count + 1
        if not markers.any():
            return np.zeros_like(markers)
        grown: npt.NDArray[np.int32] = skimage.segmentation.watershed(
            depth, markers, connectivity=depth.ndim, mask=mask
        )
        return grown.astype(np.int32, copy=False)

    def _mask(self, rows: slice) -> npt.NDArray[np.bool_]:
        return np.asarray(self._foreground[rows] > self._mask_threshold)


def _numbered(objects: npt.NDArray[np.int32], min_voxels: int) -> Objects:
    """Leave out small objects, close the gaps in their numbers, and take the smallest type."""
    rows = _rows_of(objects.shape)
    parts = [slice(start, start + rows) for start in range(0, len(objects), rows)]
    count = max(int(objects[part].max(initial=0)) for part in parts)
    voxels = np.zeros(count + 1, np.int64)
    for part in parts:
        voxels += np.bincount(objects[part].ravel(), minlength=count + 1)
    kept = voxels >= min_voxels
    kept[0] = False
    numbers = (np.cumsum(kept) * kept).astype(np.min_scalar_type(int(kept.sum())))
    result = np.empty(objects.shape, numbers.dtype)
    for part in parts:
        result[part] = numbers[objects[part]]
    return result


def _rows_of(shape: Sequence[int]) -> int:
    return max(1, STRIP_VOXELS // max(1, prod(shape[1:])))
