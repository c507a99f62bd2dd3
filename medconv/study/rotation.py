"""A volume turned in a plane: nothing is cut off, quarter-turns are exact, labels stay labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, cos, radians, sin
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medconv.types import FloatArray, Geometry

Outside = Literal["reflect", "edge", "minimum"]
"""What lies around a turned image: its mirror image, its border voxels drawn out, or its smallest value."""

ORDERS = {"linear": 1, "cubic": 3}
"""How grey values between voxels are found: the degree of the spline."""

_MODES = {"reflect": "reflect", "edge": "nearest", "minimum": "constant"}
_SAME_SPACING = 1e-3
_HALF = 0.5 + 1e-9

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PlaneGrid:
    """Pixels of a plane.

    Args:
        shape: Along the first and the second axis of the plane.
        spacing: Edge lengths of a pixel along both.
    """

    shape: tuple[int, int]
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Rotation:
    r"""The rotation of a volume about the centre of a plane, onto a grid that holds all of it.

    .. math:: y(q) = x(R_\theta^{-1} q)

    in lengths from the centre, :math:`\theta` leading from the first axis of the plane towards the second. By
    multiples of 90° voxels are permuted, with their edge lengths, and nothing is interpolated. By any other
    angle the new grid is as fine as the finer axis of the plane, so that pixels that are no squares lose nothing
    where they come to lie the other way; it is as large as the turned image, so that no structure leaves it.

    Args:
        shape: ``*S`` of the volume, three axes.
        geometry: Of the volume.
        plane: Array axes, first and second.
        angle_deg: Any.

    Example:
        >>> geometry = Geometry(np.eye(4), (1.0, 1.0, 1.0), "RAS")
        >>> quarter = Rotation((2, 3, 1), geometry, (0, 1), 90)
        >>> quarter.labels(np.arange(6).reshape(2, 3, 1))[..., 0].tolist()
        [[2, 5], [1, 4], [0, 3]]
        >>> Rotation((20, 20, 1), geometry, (0, 1), 45).new_shape
        (29, 29, 1)
    """

    shape: tuple[int, ...]
    geometry: Geometry
    plane: tuple[int, int]
    angle_deg: float

    @property
    def is_exact(self) -> bool:
        """Whether voxels are only permuted."""
        return self.angle_deg % 90 == 0

    @cached_property
    def old(self) -> PlaneGrid:
        """The plane before."""
        spacing = self.geometry.spacing_mm
        a, b = self.plane
        return PlaneGrid((self.shape[a], self.shape[b]), (spacing[a], spacing[b]))

    @cached_property
    def new(self) -> PlaneGrid:
        """The plane afterwards."""
        old = self.old
        if self.is_exact:
            is_crosswise = self.angle_deg % 180 != 0
            return PlaneGrid(old.shape[::-1], old.spacing[::-1]) if is_crosswise else old
        finest = min(old.spacing)
        is_square = max(old.spacing) / finest - 1 <= _SAME_SPACING
        spacing = old.spacing if is_square else (finest, finest)
        c, s = abs(cos(radians(self.angle_deg))), abs(sin(radians(self.angle_deg)))
        along, across = (n * length for n, length in zip(old.shape, old.spacing, strict=True))
        extents = (c * along + s * across, s * along + c * across)
        sizes = [ceil(extent / length - 1e-6) for extent, length in zip(extents, spacing, strict=True)]
        return PlaneGrid((sizes[0], sizes[1]), spacing)

    @property
    def new_shape(self) -> tuple[int, ...]:
        """``*S`` of the turned volume."""
        return _replaced(self.shape, self.plane, self.new.shape)

    @property
    def new_geometry(self) -> Geometry:
        """Of the turned volume: the scanner's axes stay where they are, the patient turns; so does the centre."""
        old, spacing = self.geometry, _replaced(self.geometry.spacing_mm, self.plane, self.new.spacing)
        affine = old.affine.copy()
        affine[:3, :3] *= np.array(spacing) / np.array(old.spacing_mm)
        middles = [(np.array(shape) - 1) / 2 for shape in (self.shape, self.new_shape)]
        affine[:3, 3] += old.affine[:3, :3] @ middles[0] - affine[:3, :3] @ middles[1]
        return replace(old, affine=affine, spacing_mm=spacing)

    def image(self, data: Array, order: int = 3, outside: Outside = "reflect") -> Array:
        """Turn grey values.

        Args:
            data: ``(C, *S)``.
            order: Of the spline: 1 or 3. Values never leave the range of their channel.
            outside: What lies around the image.

        Shape:
            Output ``(C, *S')`` of the type of ``data``.
        """
        if self.is_exact:
            return self._permuted(data, first=1)
        result = np.empty((len(data), *self.new_shape), data.dtype)
        for channel, target in zip(data, result, strict=True):
            low, high = channel.min(), channel.max()
            options = {"order": order, "mode": _MODES[outside], "cval": float(low)}
            for source, plane in self._planes(channel, target):
                matrix, offset = _affine(self.old, self.new, self.angle_deg)
                turned = ndimage.affine_transform(source, matrix, offset, self.new.shape, **options)
                plane[...] = np.clip(turned, low, high)
        return result

    def labels(self, labels: Array) -> Array:
        """Turn a label map: each new voxel takes the label that bilinear weights give the largest share.

        Args:
            labels: ``(*S)``, of any integer type and any number of labels.

        Shape:
            Output ``(*S')`` of the same type; 0 outside the image.
        """
        if self.is_exact:
            return self._permuted(labels, first=0)
        return self._sampled(labels, self.old, self.new, self.angle_deg)

    def undo_labels(self, labels: Array) -> Array:
        """Turn a label map ``(*S')`` back onto the grid before."""
        if self.is_exact:
            return np.ascontiguousarray(np.rot90(labels, -round(self.angle_deg / 90), self.plane))
        return self._sampled(labels, self.new, self.old, -self.angle_deg)

    def inside(self) -> npt.NDArray[np.bool_]:
        """Which new voxels lie in the image: ``(*S')``, a view that repeats one plane."""
        at = _sources(self.old, self.new, self.angle_deg)
        within = [(x >= -_HALF) & (x <= n - 1 + _HALF) for x, n in zip(at, self.old.shape, strict=True)]
        plane = within[0] & within[1]
        a, b = self.plane
        through = 3 - a - b
        upright = plane if a < b else plane.T
        return np.broadcast_to(np.expand_dims(upright, through), self.new_shape)

    def _permuted(self, data: Array, first: int) -> Array:
        axes = (self.plane[0] + first, self.plane[1] + first)
        return np.ascontiguousarray(np.rot90(data, round(self.angle_deg / 90), axes))

    def _planes(self, volume: Array, target: Array) -> list[tuple[Array, Array]]:
        """Views of every plane of both, first axis of the plane first."""
        through = 3 - sum(self.plane)
        order = (through, *self.plane)
        return list(zip(volume.transpose(order), target.transpose(order), strict=True))

    def _sampled(self, labels: Array, old: PlaneGrid, new: PlaneGrid, angle_deg: float) -> Array:
        result = np.zeros(_replaced(labels.shape, self.plane, new.shape), labels.dtype)
        at = _sources(old, new, angle_deg)
        is_inside = np.logical_and.reduce(
            [(x >= -_HALF) & (x <= n - 1 + _HALF) for x, n in zip(at, old.shape, strict=True)]
        )
        rows, columns, shares = _corners(at, old.shape)
        for source, target in self._planes(labels, result):
            target[...] = np.where(is_inside, _largest_share(source, rows, columns, shares), 0)
        return result


def _sources(old: PlaneGrid, new: PlaneGrid, angle_deg: float) -> tuple[FloatArray, FloatArray]:
    """Where in the old plane each new pixel comes from, in old pixels."""
    matrix, offset = _affine(old, new, angle_deg)
    i, j = np.meshgrid(*[np.arange(n, dtype=np.float64) for n in new.shape], indexing="ij")
    first, second = (matrix[row, 0] * i + matrix[row, 1] * j + offset[row] for row in (0, 1))
    return first, second


def _affine(old: PlaneGrid, new: PlaneGrid, angle_deg: float) -> tuple[FloatArray, FloatArray]:
    """New pixel to old pixel: ``matrix @ new + offset``."""
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    back = np.array([[c, s], [-s, c]])
    matrix: FloatArray = back * np.array(new.spacing) / np.array(old.spacing)[:, None]
    offset: FloatArray = (np.array(old.shape) - 1) / 2 - matrix @ ((np.array(new.shape) - 1) / 2)
    return matrix, offset


def _corners(at: Sequence[FloatArray], shape: Sequence[int]) -> tuple[Array, Array, FloatArray]:
    """The four old pixels around each new one, and the bilinear share of each: ``(4, *new)``."""
    floors = [np.floor(x) for x in at]
    parts = [x - low for x, low in zip(at, floors, strict=True)]
    places = [
        [np.clip(low + step, 0, n - 1).astype(np.intp) for step in (0, 1)]
        for low, n in zip(floors, shape, strict=True)
    ]
    weights = [(1 - part, part) for part in parts]
    pairs = [(k, m) for k in (0, 1) for m in (0, 1)]
    rows, columns = (np.stack([places[axis][pair[axis]] for pair in pairs]) for axis in (0, 1))
    return rows, columns, np.stack([weights[0][k] * weights[1][m] for k, m in pairs])


def _largest_share(plane: Array, rows: Array, columns: Array, shares: FloatArray) -> Array:
    corners = plane[rows, columns]
    if (corners == corners[0]).all():
        return corners[0]
    # a tie between labels goes to the nearest pixel
    totals = [
        ((corners == own) * shares).sum(0) + 1e-9 * share for own, share in zip(corners, shares, strict=True)
    ]
    best = np.argmax(np.stack(totals), axis=0)
    return np.take_along_axis(corners, best[None], axis=0)[0]


def _replaced(values: Sequence[Any], plane: tuple[int, int], new: Sequence[Any]) -> tuple[Any, ...]:
    result = list(values)
    result[plane[0]], result[plane[1]] = new
    return tuple(result)
