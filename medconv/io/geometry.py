"""Affines, orientations and grids: exact flips and permutations, and whether two grids agree."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from medconv.errors import GeometryError
from medconv.io.blockwise import contiguous
from medconv.lengths import edges_text
from medconv.types import FloatArray, Geometry

Scalar = TypeVar("Scalar", bound=np.generic)

NATIVE = "native"
"""The orientation that means: leave the axes as they are stored."""

GRID_TOLERANCE_VOX = 0.05
"""Two grids are the same if no corner lies further apart than this fraction of a voxel."""

_NOTICEABLE_SHEAR_DEG = 0.05
_LARGEST_SHEAR_DEG = 1.0
_NEGATIVE_POSITIVE = ("LR", "PA", "IS")
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


def geometry_from_affine(affine: npt.ArrayLike, name: str = "the volume") -> Geometry:
    """Read spacing and orientation off an affine, after checking that it is usable.

    Axes that are up to 1° from perpendicular are made perpendicular (polar decomposition) with a warning,
    because every distance in mm would otherwise depend on which axis it is measured along.

    Args:
        affine: ``(4, 4)``, voxel index to mm, RAS+.
        name: How errors and warnings call the volume.

    Raises:
        GeometryError: Wrong shape, not finite, singular, or sheared by more than 1°.

    Example:
        >>> geometry_from_affine(np.diag([-2.0, 1.0, 3.0, 1.0])).orientation
        'LAS'
    """
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4):
        raise GeometryError(f"{name}: expected an affine of shape (4, 4), got {affine.shape}")
    if not np.isfinite(affine).all():
        raise GeometryError(
            f"{name}: expected a finite affine, got {_flat(affine)}; restore it from the original scan or "
            f"set it anew, e.g. with nibabel: img.set_sform(affine, 1)"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing == 0).any() or abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-6:
        raise GeometryError(
            f"{name}: expected an invertible affine, got the singular {_flat(affine)}; voxels would have no "
            f"volume. Restore it from the original scan or set it anew"
        )
    affine = _without_shear(affine, spacing, name)
    return Geometry(affine, tuple(float(s) for s in spacing), _orientation(affine[:3, :3] / spacing))


def reorient(
    data: npt.NDArray[Scalar], geometry: Geometry, orientation: str = "RAS"
) -> tuple[npt.NDArray[Scalar], Geometry]:
    """Flip and permute the axes until they point to ``orientation``; no voxel changes its value or place.

    Args:
        data: ``(C, *S)``.
        geometry: Of ``data`` as it is.
        orientation: Three letters, one of each pair L/R, A/P, S/I; or ``"native"`` for no change.

    Returns:
        The data, contiguous, and its new geometry.

    Raises:
        GeometryError: ``orientation`` is no orientation.
    """
    turned = _turn(data, *_moves(geometry.orientation, orientation))
    return turned, reorient_geometry(geometry, data.shape[1:], orientation)


def undo_reorient(
    data: npt.NDArray[Scalar], native: Geometry, orientation: str = "RAS"
) -> npt.NDArray[Scalar]:
    """Bring data that was turned to ``orientation`` back to its native axes, bit by bit.

    Args:
        data: ``(C, *S)`` in ``orientation``.
        native: The geometry before :func:`reorient`.
        orientation: The orientation ``data`` is in, as it was given to :func:`reorient`.
    """
    return _turn(data, *_moves(orientation, native.orientation))


def turned_view(data: npt.NDArray[Scalar], geometry: Geometry, orientation: str) -> npt.NDArray[Scalar]:
    """The same memory with the axes of :func:`reorient`: what is written there lands turned back in ``data``.

    Args:
        data: ``(C, *S)``.
        geometry: Of ``data`` as it is.
        orientation: As for :func:`reorient`.
    """
    return _turned(data, *_moves(geometry.orientation, orientation))


def reorient_geometry(geometry: Geometry, shape: Sequence[int], orientation: str) -> Geometry:
    """The geometry that :func:`reorient` returns, without touching voxels.

    Args:
        geometry: Before turning.
        shape: ``*S`` before turning.
        orientation: As for :func:`reorient`.
    """
    axes, flips = _moves(geometry.orientation, orientation)
    old_from_new = np.zeros((4, 4))
    old_from_new[3, 3] = 1
    for new, (old, flip) in enumerate(zip(axes, flips, strict=True)):
        old_from_new[old, new] = -1 if flip else 1
        old_from_new[old, 3] = shape[old] - 1 if flip else 0
    spacing = tuple(geometry.spacing_mm[axis] for axis in axes)
    turned = geometry.orientation if orientation == NATIVE else orientation
    return replace(geometry, affine=geometry.affine @ old_from_new, spacing_mm=spacing, orientation=turned)


def reorient_shape(shape: Sequence[int], geometry: Geometry, orientation: str) -> tuple[int, ...]:
    """``*S`` after :func:`reorient`."""
    axes, _ = _moves(geometry.orientation, orientation)
    return tuple(int(shape[axis]) for axis in axes)


def resize_geometry(geometry: Geometry, shape: Sequence[int], new_shape: Sequence[int]) -> Geometry:
    """The geometry of a grid with another number of voxels over exactly the same field of view.

    The outer faces of the border voxels stay where they are, so the first voxel centre moves by half the
    difference of the two voxel sizes.
    """
    scale = np.array([old / new for old, new in zip(shape, new_shape, strict=True)])
    old_from_new = np.diag([*scale, 1.0])
    old_from_new[:3, 3] = (scale - 1) / 2
    spacing = tuple(float(s) for s in np.array(geometry.spacing_mm) * scale)
    return replace(geometry, affine=geometry.affine @ old_from_new, spacing_mm=spacing)


def crop_geometry(geometry: Geometry, start: Sequence[int]) -> Geometry:
    """The geometry of a part of a grid that begins at voxel ``start``; a point keeps its place in mm."""
    old_from_new = np.eye(4)
    old_from_new[:3, 3] = start
    return replace(geometry, affine=geometry.affine @ old_from_new)


def grid_difference_vox(one: FloatArray, other: FloatArray, shape: Sequence[int]) -> float:
    """The furthest that any corner of the grid ``one`` lies from the same corner of ``other``, in voxels."""
    corners = np.array([[*corner, 1] for corner in itertools.product(*[(0, size - 1) for size in shape])]).T
    apart = np.linalg.solve(one, other @ corners) - corners
    return float(np.abs(apart[:3]).max())


class OnGrid(Protocol):
    """Anything that lies on a grid: a ``Volume``, or the ``Header`` of one that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``*S``."""

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie."""

    @property
    def name(self) -> str:
        """What error messages call it."""


def require_same_grid(image: OnGrid, label: OnGrid, tolerance_vox: float = GRID_TOLERANCE_VOX) -> None:
    """Refuse two volumes whose voxels do not lie in the same places.

    Of an image that does not say how large its pixels are only the shape is compared with one that does.

    Args:
        image: What sets the grid.
        label: What must lie on it.
        tolerance_vox: Largest distance of corresponding corners, in voxels of the image.

    Raises:
        GeometryError: Shapes differ, or corners lie further apart; with the numbers.
    """
    remedy = (
        "resample one onto the grid of the other (labels with nearest neighbour), or pair the right files"
    )
    if image.shape != label.shape:
        raise GeometryError(
            f"{label.name}: expected the shape {image.shape} of {image.name}, got {label.shape}; {remedy}"
        )
    if image.geometry.unit != label.geometry.unit:
        return  # one of them does not say how large its pixels are, so there is nothing to compare
    spacings = [tuple(volume.geometry.spacing_mm) for volume in (image, label)]
    difference = grid_difference_vox(image.geometry.affine, label.geometry.affine, image.shape)
    if difference > tolerance_vox:
        sizes = [edges_text(spacing, image.geometry.unit) for spacing in spacings]
        cause = "" if sizes[0] == sizes[1] else f"voxels are {sizes[1]} against {sizes[0]}, "
        raise GeometryError(
            f"{label.name}: expected the grid of {image.name} to within {tolerance_vox:g} voxel, but "
            f"{cause}corners lie "
            f"up to {difference:.3g} voxels apart (affine {_flat(label.geometry.affine)} against "
            f"{_flat(image.geometry.affine)}); {remedy}"
        )


def check_orientation(orientation: str) -> str:
    """Return ``orientation`` if it names one direction of each of the three body axes.

    Raises:
        GeometryError: It does not.
    """
    letters = set(orientation)
    if len(orientation) != 3 or any(len(letters & set(pair)) != 1 for pair in ("LR", "AP", "SI")):
        raise GeometryError(
            f"expected an orientation of three letters, one of each pair L/R, A/P, S/I, such as 'RAS'; "
            f"got {orientation!r}"
        )
    return orientation


def turning(source: str, target: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """How :func:`reorient` turns: for each new axis the old one it comes from, and whether that is reversed."""
    return _moves(source, target)


def _moves(source: str, target: str) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    """For each target axis: the source axis it comes from, and whether that is turned round."""
    if NATIVE in (source, target):
        return (0, 1, 2), (False, False, False)
    check_orientation(source)
    check_orientation(target)
    axes = tuple(source.index(t if t in source else _OPPOSITE[t]) for t in target)
    return axes, tuple(source[axis] != t for axis, t in zip(axes, target, strict=True))


def _turn(data: npt.NDArray[Scalar], axes: tuple[int, ...], flips: tuple[bool, ...]) -> npt.NDArray[Scalar]:
    return contiguous(_turned(data, axes, flips))


def _turned(data: npt.NDArray[Scalar], axes: tuple[int, ...], flips: tuple[bool, ...]) -> npt.NDArray[Scalar]:
    turned = data.transpose(0, *(axis + 1 for axis in axes))
    steps: list[Any] = [slice(None, None, -1 if flip else 1) for flip in flips]
    return turned[(slice(None), *steps)]


def _orientation(directions: FloatArray) -> str:
    """The body axis that each voxel axis follows: the clearest one first, and each body axis once, as in nibabel."""
    columns = directions.T.tolist()
    letters, free = [""] * 3, [0, 1, 2]
    for axis in sorted(range(3), key=lambda axis: -max(map(abs, columns[axis]))):
        nearest = max(free, key=lambda body: abs(columns[axis][body]))
        free.remove(nearest)
        letters[axis] = _NEGATIVE_POSITIVE[nearest][columns[axis][nearest] > 0]
    return "".join(letters)


def _without_shear(affine: FloatArray, spacing: FloatArray, name: str) -> FloatArray:
    directions = affine[:3, :3] / spacing
    cosines = directions.T @ directions
    shear_deg = math.degrees(math.asin(min(1.0, float(np.abs(cosines - np.diag(np.diag(cosines))).max()))))
    if shear_deg <= _NOTICEABLE_SHEAR_DEG:
        return affine
    if shear_deg > _LARGEST_SHEAR_DEG:
        raise GeometryError(
            f"{name}: expected perpendicular voxel axes, but two are {shear_deg:.3g}° from it (at most "
            f"{_LARGEST_SHEAR_DEG:g}° is repaired); resample the scan onto a perpendicular grid "
            f"(a tilted CT gantry: convert it with tilt correction)"
        )
    warnings.warn(
        f"{name}: voxel axes are {shear_deg:.3g}° from perpendicular; the nearest perpendicular axes are "
        f"used",
        stacklevel=3,
    )
    left, _, right = np.linalg.svd(directions)
    upright = affine.copy()
    upright[:3, :3] = (left @ right) * spacing
    return upright


def _flat(affine: FloatArray) -> str:
    return "[" + "; ".join(" ".join(f"{value:.4g}" for value in row) for row in affine[:3]) + "]"
