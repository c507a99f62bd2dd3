"""Synthetic fluorescence images: cells of random shape and pose, many of them touching, in shot noise and uneven light.

What makes single cells hard to tell apart is here: neighbours share borders, brightness differs from cell to cell by
more than from cell to background, the light falls off across the image, and few photons arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from medconv.types import FloatArray

CELL_NAMES = {0: "background", 1: "cell"}
PIXEL_SIZE_UM = 0.65

_SHAPE = np.array([144, 176])
_TRIES = 60
"""Cells that are tried; those that would hide another one are left out."""
_TOUCHING = 0.6
"""Share of the cells that are put beside another one."""
_MOST_HIDDEN = 0.12
"""Share of a cell that may lie under others."""
_RADIUS_PX = (6.0, 12.0)
_HARMONICS = np.arange(2, 6)
_BLUR_PX = 0.9
_HAZE = 6
"""Cells far out of focus, which are no cells to be found."""
_BRIGHT = (0.45, 1.3)
_PHOTONS = (25.0, 60.0)
"""At the mean brightness of a cell."""
_GAIN = 12.0
_OFFSET = 100.0


@dataclass(frozen=True)
class DemoImage:
    """One synthetic image.

    Args:
        image: ``(H, W)`` uint16, in counts of a camera.
        label: ``(H, W)`` uint16, one number a cell from 1 on, 0 the background.
        pixel_size_um: Edge of a pixel.
    """

    image: npt.NDArray[np.uint16]
    label: npt.NDArray[np.uint16]
    pixel_size_um: float


@dataclass(frozen=True)
class _Cell:
    """A closed curve about a centre: a mean radius with a few harmonics."""

    centre: FloatArray
    radius: float
    elongation: float
    angle: float
    amplitudes: FloatArray
    phases: FloatArray


def draw_cells(seed: int, number: int) -> DemoImage:
    """The ``number``-th image of the series ``seed``; the same two numbers give the same image.

    Example:
        >>> drawn = draw_cells(seed=0, number=3)
        >>> drawn.image.shape == drawn.label.shape, drawn.image.shape[0] != drawn.image.shape[1]
        (True, True)
    """
    rng = np.random.default_rng([seed, number, 2])
    shape = tuple(int(size) for size in _SHAPE + rng.integers(-8, 9, size=2))
    label = _place(rng, shape)
    lit = (_paint(rng, label) + _haze(rng, shape)) * _light(rng, shape)
    photons = rng.poisson(lit * rng.uniform(*_PHOTONS))
    counts = _OFFSET + _GAIN * photons + rng.normal(0, 8, shape)
    return DemoImage(np.clip(counts.round(), 0, 65_535).astype(np.uint16), label, PIXEL_SIZE_UM)


def _place(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    label = np.zeros(shape, np.uint16)
    placed: list[_Cell] = []
    for _ in range(_TRIES):
        cell = _draw_cell(rng, shape, placed)
        box, inside = _inside(cell, shape)
        taken = label[box] > 0
        whole = int(inside.sum())
        visible = inside & ~taken
        if not whole or (whole - int(visible.sum())) > _MOST_HIDDEN * whole:
            continue
        pieces, count = ndimage.label(visible)
        if count != 1:
            continue
        placed.append(cell)
        label[box][pieces == 1] = len(placed)
    return label


def _draw_cell(rng: np.random.Generator, shape: tuple[int, ...], placed: list[_Cell]) -> _Cell:
    radius = rng.uniform(*_RADIUS_PX)
    centre = rng.uniform(0, 1, 2) * shape
    beside = rng.uniform() < _TOUCHING
    if beside and placed:
        other = placed[int(rng.integers(len(placed)))]
        away = rng.uniform(0, 2 * np.pi)
        reach = (other.radius + radius) * rng.uniform(0.85, 1.0)
        centre = other.centre + reach * np.array([np.sin(away), np.cos(away)])
    return _Cell(
        centre=centre,
        radius=radius,
        elongation=rng.uniform(1.0, 1.6),
        angle=rng.uniform(0, 2 * np.pi),
        amplitudes=rng.normal(0, 0.10, len(_HARMONICS)) / (_HARMONICS - 1),
        phases=rng.uniform(0, 2 * np.pi, len(_HARMONICS)),
    )


def _inside(cell: _Cell, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], npt.NDArray[np.bool_]]:
    """The block of pixels around a cell, and which of them it covers."""
    reach = 2 * cell.radius
    low = np.clip(np.floor(cell.centre - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(cell.centre + reach), 0, shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    y, x = (np.arange(a, b) + 0.5 - c for a, b, c in zip(low, high, cell.centre, strict=True))
    along = np.cos(cell.angle) * x[None] + np.sin(cell.angle) * y[:, None]
    across = np.cos(cell.angle) * y[:, None] - np.sin(cell.angle) * x[None]
    stretch = cell.elongation**0.5
    along, across = along / stretch, across * stretch
    turn = np.arctan2(across, along)[..., None]
    waves = (cell.amplitudes * np.cos(_HARMONICS * turn + cell.phases)).sum(axis=-1)
    return box, np.hypot(along, across) < cell.radius * (1 + waves)


def _paint(rng: np.random.Generator, label: npt.NDArray[np.uint16]) -> FloatArray:
    """Brightness: each cell its own, with a grain inside, blurred by the optics."""
    levels = np.concatenate([[0.0], rng.uniform(*_BRIGHT, int(label.max()))])
    grain = ndimage.gaussian_filter(rng.normal(0, 1, label.shape), 1.5)
    brightness = levels[label] * (1 + 0.18 * grain / grain.std())
    return np.clip(ndimage.gaussian_filter(brightness, _BLUR_PX), 0, None)


def _haze(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """A dim background with cells that are far out of focus."""
    haze = np.zeros(shape)
    for _ in range(_HAZE):
        box, inside = _inside(_draw_cell(rng, shape, []), shape)
        haze[box][inside] += rng.uniform(0.3, 0.9)
    return 0.12 + ndimage.gaussian_filter(haze, 7.0)


def _light(rng: np.random.Generator, shape: tuple[int, ...]) -> FloatArray:
    """A smooth factor of mean 1 that falls off by up to a half from a bright place to the far corner."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    middle: Any = rng.uniform(-0.6, 0.6, 2)
    light = np.exp(-rng.uniform(0.1, 0.3) * ((y - middle[0]) ** 2 + (x - middle[1]) ** 2))
    return light / light.mean()
