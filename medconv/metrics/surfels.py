"""Surface elements with areas: one between each 2 x 2 x 2 voxels that are not all inside or all outside.

Each stands for the piece of a marching-cubes surface that runs through it. The areas follow from the cell alone:
corners that touch only across a face are cut off one by one, and a piece with more than three corners is split
into triangles so that its area on a cubic grid is largest (the mean where several ways are).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np

from medconv.metrics.boundary import Boundary, IntArray, steps
from medconv.metrics.grid import LabelMap
from medconv.types import FloatArray

Corner = tuple[int, ...]
Loop = list[Corner]
Triangle = tuple[Corner, Corner, Corner]


def find_surfels(
    mask: LabelMap,
    margin: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    cut: tuple[tuple[bool, bool], ...],
    unknown: LabelMap | None = None,
) -> tuple[Boundary, FloatArray]:
    """The surface elements of a mask, on a lattice with one more place along each axis, and their areas.

    Args:
        mask: 0 and 1, ``(*S)``.
        margin: Zeros to put around the lattice.
        spacing_mm: Voxel edge lengths.
        cut: For each axis, whether the elements at its low and high end are left out because they stick out
            of the image.
        unknown: Where nobody knows the truth, ``(*S)`` with a frame of one voxel around it: elements between voxels
            of which one is unknown are left out.

    Example:
        >>> surfels, area_mm = find_surfels(
        ...     np.ones((1, 1), np.uint8), (1, 1), (1.0, 1.0), ((False, False),) * 2
        ... )
        >>> surfels.voxels(surfels.points).tolist(), round(float(area_mm.sum()), 3)
        ([[1, 1], [1, 2], [2, 1], [2, 2]], 2.828)
    """
    shape = tuple(n + 1 + 2 * m for n, m in zip(mask.shape, margin, strict=True))
    padded = np.zeros(shape, np.uint8)
    padded[tuple(slice(m, m + n) for n, m in zip(mask.shape, margin, strict=True))] = mask
    flat, full = padded.reshape(-1), 2**2**mask.ndim - 1
    codes = np.zeros(flat.size, np.uint8)
    for bit, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        back = int(np.dot(corner, steps(shape)))
        codes[back:] |= flat[: flat.size - back] << bit
    grid = codes.reshape(shape)
    if unknown is not None:
        inner = tuple(slice(m, m + n + 1) for m, n in zip(margin, mask.shape, strict=True))
        for corner in product((0, 1), repeat=mask.ndim):
            beside = tuple(slice(c, c + n + 1) for c, n in zip(corner, mask.shape, strict=True))
            grid[inner][unknown[beside]] = 0
    for axis, (m, n, ends) in enumerate(zip(margin, mask.shape, cut, strict=True)):
        for place in (p for p, end in zip((m, m + n), ends, strict=True) if end):
            grid[(slice(None),) * axis + (place,)] = 0
    points: IntArray = np.flatnonzero((codes != 0) & (codes != full))
    present = np.zeros(flat.size, np.uint8)
    present[points] = 1
    return Boundary(shape, margin, points, present[points], present), cell_areas(spacing_mm)[codes[points]]


@lru_cache(maxsize=64)
def cell_areas(spacing_mm: tuple[float, ...]) -> FloatArray:
    """Area in mm² of the surface in each of the 256 cells (length in mm of 16 in 2-D, one point in 1-D).

    Bit ``i`` of a cell's number says whether its ``i``-th corner *away from the high end* is inside. A cell and
    its opposite have the same area, so the numbering of the corners from either end gives the same table.

    Example:
        >>> cell_areas((2.0, 0.5)).round(4).tolist()[:4]
        [0.0, 1.0308, 1.0308, 0.5]

    Source: Lorensen & Cline, SIGGRAPH 1987; Nikolov et al., JMIR 2021.
    """
    ndim = len(spacing_mm)
    corners = list(product((1, 0), repeat=ndim))
    areas = np.zeros(2 ** len(corners))
    for code in range(1, len(areas) - 1):
        inside = {c for i, c in enumerate(corners) if code >> i & 1}
        fewer = inside if 2 * len(inside) <= len(corners) else set(corners) - inside
        areas[code] = _surface(fewer, np.array(spacing_mm))
    return areas


def _surface(inside: set[Corner], spacing_mm: FloatArray) -> float:
    """Area of the surface that cuts these corners off a cell."""
    if len(spacing_mm) == 1:
        return 1.0
    if len(spacing_mm) == 2:
        square: Loop = [(0, 0), (0, 1), (1, 1), (1, 0)]
        return sum(_length(a, b, spacing_mm) for a, b in _cuts(square, inside))
    return sum(_loop_area(loop, spacing_mm) for loop in _loops(inside))


def _length(a: Corner, b: Corner, spacing_mm: FloatArray) -> float:
    return float(np.linalg.norm(np.subtract(a, b) / 2 * spacing_mm))


def _cuts(square: list[Corner], inside: set[Corner]) -> Iterator[tuple[Corner, Corner]]:
    """Pieces of the contour in one face, between middles of edges in half voxels; inside corners stay apart."""
    middles = [tuple(np.add(square[i], square[(i + 1) % 4]).tolist()) for i in range(4)]
    within = [corner in inside for corner in square]
    crossed = [i for i in range(4) if within[i] != within[(i + 1) % 4]]
    if len(crossed) == 2:
        yield middles[crossed[0]], middles[crossed[1]]
    elif len(crossed) == 4:
        yield from ((middles[i - 1], middles[i]) for i in range(4) if within[i])


def _loops(inside: set[Corner]) -> list[Loop]:
    """Closed polygons around the inside corners of a cube, by their corners in half voxels."""
    beside: dict[Corner, list[Corner]] = {}
    for axis, side in product(range(3), (0, 1)):
        square: Loop = [(0, 0), (0, 1), (1, 1), (1, 0)]
        face: Loop = [(*c[:axis], side, *c[axis:]) for c in square]
        for a, b in _cuts(face, inside):
            beside.setdefault(a, []).append(b)
            beside.setdefault(b, []).append(a)
    loops = []
    while beside:
        loop = [next(iter(beside))]
        while fresh := [c for c in beside.pop(loop[-1]) if c in beside]:
            loop.append(fresh[0])
        loops.append(loop)
    return loops


def _loop_area(loop: Loop, spacing_mm: FloatArray) -> float:
    ways = list(_triangulations(loop))
    on_cubes = [_area(way, np.ones(3)) for way in ways]
    best = [way for way, area in zip(ways, on_cubes, strict=True) if area > max(on_cubes) - 1e-9]
    return float(np.mean([_area(way, spacing_mm) for way in best]))


def _triangulations(loop: Loop) -> Iterator[list[Triangle]]:
    """Every way to split a polygon into triangles over its corners."""
    if len(loop) < 3:
        yield []
        return
    for apex in range(1, len(loop) - 1):
        for left in _triangulations(loop[: apex + 1]):
            for right in _triangulations(loop[apex:]):
                yield [(loop[0], loop[apex], loop[-1]), *left, *right]


def _area(triangles: list[Triangle], spacing_mm: FloatArray) -> float:
    corners = np.array(triangles) / 2 * spacing_mm
    sides = corners[:, 1:] - corners[:, :1]
    return float(np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2)
