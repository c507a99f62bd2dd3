"""Draw, then apply: what will happen to each sample of a batch, decided on the host from the keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import prod

import numpy as np
import numpy.typing as npt

from medconv.errors import ConfigError
from medconv.transforms.augment_elastic import grid_shape
from medconv.transforms.augment_settings import AugmentSettings, Chance
from medconv.transforms.augment_spatial import rotation_limits_deg, rotation_matrix, voxel_matrix
from medconv.transforms.keyed_random import hash_numbers, uniform
from medconv.types import FloatArray

Int64Array = npt.NDArray[np.int64]

INTENSITY_CHANGES = (
    "noise_std",
    "blur_sigma_vox",
    "brightness",
    "contrast",
    "resolution",
    "gamma_inverted",
    "gamma",
)
"""In the order in which they are applied; the names are those of ``AugmentSettings``."""

_FACTORS = ("brightness", "contrast", "gamma_inverted", "gamma")
"""Drawn below 1 as often as above: 0.7–1.5 drawn evenly would stretch more often than it shrinks."""

# The streams of uniform numbers: new ones go to the end, or every run ever made changes.
_STREAMS = count()
_ROTATE, _ANGLES, _RESCALE, _SCALE, _MIRROR, _NOISE = (next(_STREAMS) for _ in range(6))
_CHOOSE, _CHOOSE_CHANNEL, _STRENGTH = ({name: next(_STREAMS) for name in INTENSITY_CHANGES} for _ in range(3))

_DEFORM, _DEFORM_STRENGTH, _DEFORM_FIELD = (next(_STREAMS) for _ in range(3))


@dataclass(frozen=True)
class Pick:
    """Which rows of a batch one change applies to, and with which strength.

    Args:
        rows: ``(n,)`` indices, ascending: samples for warps and mirrors, channels of samples otherwise.
        strength: ``(n,)``; ``(n, d, d)`` sampling matrices for warps, ``(n, d, *G)`` for elastic deformations.
    """

    rows: Int64Array
    strength: npt.NDArray[np.float32]


def draw_picks(
    settings: AugmentSettings,
    keys: Int64Array,
    shape: Sequence[int],
) -> dict[str, Pick]:
    """Decide every change of patches that are already cut; changes that touch no row are absent.

    Args:
        settings: Probabilities and ranges.
        keys: ``(B,)``; a sample's fate depends on its own key and on nothing else.
        shape: ``(C, *S)`` of a sample.
    """
    channels, patch = shape[0], shape[1:]
    picks = {"elastic_vox": _draw_deformations(settings, keys, patch)}
    for name in INTENSITY_CHANGES:
        picks[name] = _draw_intensity(settings, name, keys, channels)
    for axis in _mirror_axes(settings, len(patch)):
        flipped = uniform(keys, _MIRROR, len(patch))[:, axis] < settings.chance_of(settings.mirror)
        rows = np.flatnonzero(flipped)
        picks[f"mirror_{axis}"] = Pick(rows, np.ones(len(rows), np.float32))
    return {name: pick for name, pick in picks.items() if len(pick.rows)}


def noise_seeds(keys: Int64Array, channels: int, rows: Int64Array) -> list[int]:
    """One seed for each of the given rows (row = sample · channels + channel)."""
    seeds = hash_numbers(keys[:, None], _NOISE, np.arange(channels)[None]).reshape(-1) >> np.uint64(1)
    return [int(seed) for seed in seeds[rows]]


def draw_warps(
    settings: AugmentSettings, keys: Int64Array, patch: Sequence[int], spacing_mm: Sequence[float]
) -> Pick:
    """Which samples are turned and zoomed, each with its sampling matrix ``(d, d)`` in voxels.

    Args:
        settings: Probabilities and ranges.
        keys: ``(B,)``.
        patch: ``*P``.
        spacing_mm: Voxel edge lengths.
    """
    limits = rotation_limits_deg(patch, spacing_mm)
    if settings.rotation_deg is not None:
        limits = (settings.rotation_deg,) * len(limits)
    angles = (uniform(keys, _ANGLES, len(limits)) * 2 - 1) * np.asarray(limits)
    angles[uniform(keys, _ROTATE)[:, 0] >= settings.chance_of(settings.rotation)] = 0.0
    scales = _between(uniform(keys, _SCALE)[:, 0], settings.scale)
    scales[uniform(keys, _RESCALE)[:, 0] >= settings.chance_of(settings.scale.probability)] = 1.0
    rows = np.flatnonzero((angles != 0).any(1) | (scales != 1))
    matrices = [voxel_matrix(rotation_matrix(angles[i]), scales[i], spacing_mm) for i in rows]
    return Pick(rows, np.asarray(matrices, np.float32).reshape(len(rows), len(patch), len(patch)))


def _draw_deformations(settings: AugmentSettings, keys: Int64Array, patch: Sequence[int]) -> Pick:
    """Coefficients of the splines that move voxels, drawn on the host: the same on every device."""
    chance, grid = settings.elastic_vox, grid_shape(patch, settings.elastic_grid_vox)
    chosen = uniform(keys, _DEFORM)[:, 0] < settings.chance_of(chance.probability)
    rows = np.flatnonzero(chosen)
    std_vox = _between(uniform(keys[rows], _DEFORM_STRENGTH)[:, 0], chance)
    share = uniform(keys[rows], _DEFORM_FIELD, len(patch) * prod(grid))
    # uniform with a standard deviation of 1: no displacement is extreme
    field = ((2 * share - 1) * 3**0.5).reshape(len(rows), len(patch), *grid)
    strength = field * std_vox.reshape(-1, *[1] * (len(patch) + 1))
    return Pick(rows, strength.astype(np.float32))


def _draw_intensity(settings: AugmentSettings, name: str, keys: Int64Array, channels: int) -> Pick:
    chance: Chance = getattr(settings, name)
    chosen = uniform(keys, _CHOOSE[name]) < settings.chance_of(chance.probability)
    chosen = chosen & (uniform(keys, _CHOOSE_CHANNEL[name], channels) < chance.channel_probability)
    share = uniform(keys, _STRENGTH[name], channels)
    strength = _around_one(share, chance) if name in _FACTORS else _between(share, chance)
    rows = np.flatnonzero(chosen)
    return Pick(rows, strength.reshape(-1)[rows].astype(np.float32))


def _between(share: FloatArray, chance: Chance) -> FloatArray:
    return chance.low + (chance.high - chance.low) * share


def _around_one(share: FloatArray, chance: Chance) -> FloatArray:
    if not chance.low < 1 < chance.high:
        return _between(share, chance)
    below = chance.low + (1 - chance.low) * 2 * share
    above = 1 + (chance.high - 1) * (2 * share - 1)
    return np.where(share < 0.5, below, above)


def _mirror_axes(settings: AugmentSettings, spatial_dims: int) -> tuple[int, ...]:
    axes = tuple(range(spatial_dims)) if settings.mirror_axes is None else tuple(settings.mirror_axes)
    if any(not 0 <= axis < spatial_dims for axis in axes):
        raise ConfigError(f"expected mirror_axes among 0 to {spatial_dims - 1}, got {list(axes)}")
    return axes
