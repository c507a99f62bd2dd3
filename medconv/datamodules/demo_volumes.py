"""Synthetic scans: two touching bent bodies in a noisy, unevenly lit head of tissue, at any pose.

Neither body can be found by its brightness: the two differ from each other by less than the field does across
the scan, and round distractors have their brightness too. What tells them apart is shape: they are the two
halves of one bent ellipsoid, and the crescent is the half on the outer side of the bend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from medconv.types import FloatArray

LABEL_NAMES = {0: "background", 1: "crescent", 2: "core"}

_SPACING_MM = np.array([1.0, 1.0, 1.6])
_SHAPE = np.array([40, 40, 28])
_FINER = 2
"""Each voxel is the mean of this many points along each axis, so that borders are soft as in a real scan."""
_DISTRACTORS = 30
"""Tries; those that would come too near to the bodies are left out."""
_BRIGHT = (0.75, 1.05)
_GAP_MM = 1.5


@dataclass(frozen=True)
class DemoVolume:
    """One synthetic scan.

    Args:
        image: ``(X, Y, Z)`` float32, in arbitrary units.
        label: ``(X, Y, Z)`` uint8: 0 background, 1 crescent, 2 core.
        affine: ``(4, 4)``, voxel index to mm, oblique.
        spacing_mm: Voxel edge lengths.
    """

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    affine: FloatArray
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True)
class _Body:
    """A bent ellipsoid about the origin of its own frame: half lengths in mm and the radius of its bend."""

    centre_mm: FloatArray
    pose: FloatArray
    bend_mm: float
    half_angle: float
    outer_mm: float
    inner_mm: float
    height_mm: float


def draw_volume(seed: int, number: int) -> DemoVolume:
    """The ``number``-th scan of the series ``seed``; the same two numbers give the same scan.

    Example:
        >>> volume = draw_volume(seed=0, number=3)
        >>> np.unique(volume.label).tolist(), volume.image.shape == volume.label.shape
        ([0, 1, 2], True)
    """
    rng = np.random.default_rng([seed, number])
    shape = _SHAPE + rng.integers(-2, 3, size=3)
    spacing_mm = _SPACING_MM * rng.uniform(0.92, 1.08, size=3)
    body = _draw_body(rng)
    fine_mm = _axes_mm(shape * _FINER, spacing_mm / _FINER)
    brightness = _paint(rng, fine_mm, _classes(body, fine_mm), shape * spacing_mm)
    lit = _mean_of_blocks(brightness) * _field(rng, shape)
    image = 400 * _with_rician_noise(rng, lit, std=rng.uniform(0.05, 0.08))
    label = _classes(body, _axes_mm(shape, spacing_mm))
    return DemoVolume(
        image.astype(np.float32), label, _draw_affine(rng, shape, spacing_mm), tuple(spacing_mm.tolist())
    )


def _draw_body(rng: np.random.Generator) -> _Body:
    return _Body(
        centre_mm=rng.uniform(-3, 3, size=3),
        pose=Rotation.random(rng=rng).as_matrix(),
        bend_mm=rng.uniform(9.5, 11.5),
        half_angle=rng.uniform(1.5, 1.8),
        outer_mm=rng.uniform(5.0, 6.5),
        inner_mm=rng.uniform(5.0, 6.5),
        height_mm=rng.uniform(5.5, 7.0),
    )


def _axes_mm(shape: npt.NDArray[Any], spacing_mm: FloatArray) -> list[FloatArray]:
    """Positions along each axis, in mm about the centre of the volume."""
    return [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm, strict=True)]


def _classes(body: _Body, axes_mm: list[FloatArray]) -> npt.NDArray[np.uint8]:
    rows = body.pose.T
    shifted = np.ix_(*(axis - middle for axis, middle in zip(axes_mm, body.centre_mm, strict=True)))
    x, y, z = (sum(row[k] * shifted[k] for k in range(3)) for row in rows)
    x = x + body.bend_mm / 2  # the centre of the bend lies behind, so that the body is in the middle
    along = np.arctan2(y, x) / body.half_angle
    outwards = np.hypot(x, y) - body.bend_mm
    thickness = np.where(outwards > 0, body.outer_mm, body.inner_mm)
    inside = along**2 + (outwards / thickness) ** 2 + (z / body.height_mm) ** 2 < 1
    return np.where(inside, np.where(outwards > 0, 1, 2), 0).astype(np.uint8)


def _ellipsoid(
    axes_mm: list[FloatArray], centre_mm: FloatArray, radii_mm: FloatArray
) -> tuple[tuple[slice, ...], npt.NDArray[np.bool_]]:
    """The block of points around an ellipsoid, and which of them are inside."""
    near = zip(axes_mm, centre_mm, radii_mm, strict=True)
    box = tuple(slice(*np.searchsorted(axis, (middle - r, middle + r))) for axis, middle, r in near)
    x, y, z = np.ix_(
        *(
            ((axis[part] - middle) / r) ** 2
            for axis, part, middle, r in zip(axes_mm, box, centre_mm, radii_mm, strict=True)
        )
    )
    return box, x + y + z < 1


def _paint(
    rng: np.random.Generator, axes_mm: list[FloatArray], classes: npt.NDArray[np.uint8], size_mm: FloatArray
) -> FloatArray:
    """Brightness of every point: air, tissue, distractors and the two bodies."""
    brightness = np.full(classes.shape, 0.05)
    box, head = _ellipsoid(axes_mm, np.zeros(3), size_mm * rng.uniform(0.5, 0.6, size=3))
    brightness[box][head] = rng.uniform(0.4, 0.5)
    for _ in range(_DISTRACTORS):
        centre, radii_mm = rng.uniform(-0.45, 0.45, size=3) * size_mm, rng.uniform(2.5, 5.5, size=3)
        level = rng.uniform(*_BRIGHT)
        box, too_near = _ellipsoid(axes_mm, centre, radii_mm + _GAP_MM)
        if not classes[box][too_near].any():
            box, inside = _ellipsoid(axes_mm, centre, radii_mm)
            brightness[box][inside] = level
    brightness[classes == 1] = rng.uniform(0.78, 0.86)
    brightness[classes == 2] = rng.uniform(0.92, 1.0)
    return brightness


def _mean_of_blocks(fine: FloatArray) -> FloatArray:
    coarse = [n for size in fine.shape for n in (size // _FINER, _FINER)]
    return fine.reshape(coarse).mean(axis=(1, 3, 5))


def _field(rng: np.random.Generator, shape: npt.NDArray[Any]) -> FloatArray:
    """A smooth factor that differs by up to about a third across the scan, like a coil's sensitivity."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    terms = np.stack([x, y, z, x * y, y * z, x * z, x * x, y * y, z * z])
    return np.exp(np.tensordot(rng.uniform(-0.1, 0.1, size=len(terms)), terms, axes=1))


def _with_rician_noise(rng: np.random.Generator, signal: FloatArray, std: float) -> FloatArray:
    """Noise of a magnitude image: Gaussian in the real and in the imaginary part."""
    return np.hypot(signal + rng.normal(0, std, signal.shape), rng.normal(0, std, signal.shape))


def _draw_affine(rng: np.random.Generator, shape: npt.NDArray[Any], spacing_mm: FloatArray) -> FloatArray:
    """Oblique by up to 20° about any axis, each array axis growing one way or the other."""
    axis = rng.normal(size=3)
    tilt = Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(rng.uniform(0, 20))).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag(rng.choice([-1.0, 1.0], size=3)) * spacing_mm
    affine[:3, 3] = rng.uniform(-50, 50, size=3) - affine[:3, :3] @ ((shape - 1) / 2)
    return affine
