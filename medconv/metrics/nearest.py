"""How far the boundary of one label map is from that of another.

A usable prediction lies close to the truth, so almost every answer is found by looking at the nearest few
voxels, ring by ring; what is left over goes to a k-d tree. Both are exact. All labels are treated in one
pass, and no distance map of the volume is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from medconv.metrics.boundary import Boundary, IntArray
from medconv.metrics.grid import LabelMap
from medconv.types import FloatArray

_RING_VOXELS = 600
"""Voxels looked at around a point at most: 5.2 voxels of radius on an isotropic grid."""

_TREE_COST = 700
"""One query of a k-d tree takes about as long as so many looks at a voxel (measured)."""


Ring = tuple[int, int, float]
"""The first of the offsets of one length, the first behind them, and the length in mm."""

_FEW_POINTS = 16
"""So many points are compared with a whole boundary in the time that building its tree takes (measured)."""


def nearest_mm(
    source: Boundary, target: Boundary, spacing_mm: tuple[float, ...], may_miss: int = 0
) -> FloatArray:
    """For each point of ``source``, the distance to the nearest point of the same label in ``target``.

    Args:
        source: Every label that occurs here must occur in ``target`` too.
        target: The boundary of another map of the same shape and margin, which ``margin_for`` gives.
        spacing_mm: Voxel edge lengths.
        may_miss: So many of the farthest points may come back as infinitely far, whatever their label; a
            percentile that does not need them is had sooner.

    Cost:
        5 to 7 looks a point where the maps are alike; a k-d tree over the boundary where they are not.
    """
    offsets, rings = _ball(spacing_mm, target.margin)
    distances_mm, left = _search_rings(source, target.flat, offsets @ target.steps, rings, may_miss)
    if len(left) <= may_miss:
        return distances_mm
    for label in np.unique(source.labels[left]):
        mine = left[source.labels[left] == label]
        here = source.voxels(source.points[mine])
        there = target.voxels(target.points[target.labels == label])
        search = _search_all if len(here) <= _FEW_POINTS else _search_tree
        distances_mm[mine] = search(here, there, spacing_mm)
    return distances_mm


def margin_for(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> tuple[int, ...]:
    """The margin that ``nearest_mm`` needs around maps of this shape."""
    reach_mm = _reach_mm(spacing_mm)
    return tuple(max(1, min(int(reach_mm / s), n - 1)) for n, s in zip(shape, spacing_mm, strict=True))


def _search_rings(
    source: Boundary, target: LabelMap, steps: IntArray, rings: Sequence[Ring], may_miss: int
) -> tuple[FloatArray, IntArray]:
    """Distances found ring by ring, and the indices of the points that were left."""
    points, labels = source.points, source.labels
    distances_mm = np.full(len(points), np.inf)
    left = np.arange(len(points))
    looks = hits = places = 0
    for start, stop, length_mm in rings:
        found = target[points + steps[start]] == labels
        for step in steps[start + 1 : stop]:
            found |= target[points + step] == labels
        distances_mm[left[found]] = length_mm
        looks += len(points) * (stop - start)
        hits, places = hits + int(found.sum()), places + stop - start
        points, labels, left = points[~found], labels[~found], left[~found]
        if len(points) <= may_miss:
            break
        if places >= 30:
            if hits * _TREE_COST < looks:
                # rings that find so little cost more than asking the tree at once
                break
            looks = hits = places = 0
    return distances_mm, left


def _search_all(here: npt.NDArray[Any], there: npt.NDArray[Any], spacing_mm: tuple[float, ...]) -> FloatArray:
    return np.array([_lengths_mm(there - point, spacing_mm).min() for point in here])


def _search_tree(
    here: npt.NDArray[Any], there: npt.NDArray[Any], spacing_mm: tuple[float, ...]
) -> FloatArray:
    tree = scipy.spatial.cKDTree(there * spacing_mm, leafsize=32, compact_nodes=False, balanced_tree=False)
    nearest = tree.query(here * spacing_mm)[1]
    # from whole voxels again, so that rings and tree round alike
    return _lengths_mm(here - there[nearest], spacing_mm)


def _lengths_mm(offsets: npt.NDArray[Any], spacing_mm: tuple[float, ...]) -> FloatArray:
    lengths: FloatArray = np.sqrt(((offsets * spacing_mm) ** 2).sum(axis=1))
    return lengths


def _reach_mm(spacing_mm: tuple[float, ...]) -> float:
    """Radius of the ball that holds about ``_RING_VOXELS`` voxels."""
    unit_ball = {1: 2.0, 2: np.pi, 3: 4 / 3 * np.pi}[len(spacing_mm)]
    return float((_RING_VOXELS * np.prod(spacing_mm) / unit_ball) ** (1 / len(spacing_mm)))


@lru_cache(maxsize=64)
def _ball(
    spacing_mm: tuple[float, ...], margin: tuple[int, ...]
) -> tuple[npt.NDArray[Any], tuple[Ring, ...]]:
    """Offsets in whole voxels within the reach and the margin, by length, and where each length begins."""
    axes = [np.arange(-m, m + 1) for m in margin]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    lengths_mm = _lengths_mm(offsets, spacing_mm)
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= _reach_mm(spacing_mm)]
    lengths_mm = lengths_mm[order]
    # lengths that differ by rounding only are equal
    cuts = (np.flatnonzero(np.diff(lengths_mm) > 1e-9 * lengths_mm[1:]) + 1).tolist()
    ends = zip([0, *cuts], [*cuts, len(order)], strict=True)
    return offsets[order], tuple((start, stop, float(lengths_mm[start])) for start, stop in ends)
