"""Intensities on a scale that a network can work with, channel by channel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.planning import Intensity

FloatArray = npt.NDArray[np.float32]

PERCENTILES = (0.5, 99.5)
"""Between which ``"percentile"`` clips."""

RANGE_PERCENTILES, RANGE = (0.5, 99.9), (-0.5, 3.5)
"""Between which ``"range"`` clips, and what these become: about where a z-score has background and bright objects."""

_PART_VOXELS = 2**22


def normalize(
    data: npt.NDArray[np.floating],
    kinds: Sequence[str],
    intensity: Sequence[Intensity | None],
    name: str = "the volume",
    mask: npt.NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Scale each channel in its own way.

    Args:
        data: ``(C, *S)``, finite.
        kinds: One a channel. ``"zscore"``: mean 0 and standard deviation 1 over all voxels. ``"percentile"``:
            first clipped to its own 0.5th and 99.5th percentile, for scans with bright artefacts. ``"ct"``:
            clipped and scaled by the intensities of the whole dataset, so that a Hounsfield unit stays one.
            ``"range"``: its own 0.5th and 99.9th percentile become -0.5 and 3.5, and what lies beyond is clipped; for
            objects on a background, whose contrast then does not depend on how much of the image they cover.
            ``"none"``: as it is.
        intensity: One entry a channel; used by ``"ct"``.
        name: How warnings call the volume.
        mask: ``(*S)``: all but ``"ct"`` and ``"none"`` look at these voxels alone, and set the others to 0.

    Returns:
        ``(C, *S)`` float32, finite. A channel with one value only becomes 0, with a warning.
    """
    channels = [
        _normalize_channel(channel, kind, entry, f"{name}, channel {number}", mask)
        for number, (channel, kind, entry) in enumerate(zip(data, kinds, intensity, strict=True))
    ]
    return channels[0][None] if len(channels) == 1 else np.stack(channels)


def _normalize_channel(
    channel: npt.NDArray[np.floating],
    kind: str,
    intensity: Intensity | None,
    name: str,
    mask: npt.NDArray[np.bool_] | None,
) -> FloatArray:
    if kind == "none":
        return channel.astype(np.float32)
    if kind == "ct":
        assert intensity is not None, "a plan with 'ct' has intensities"
        return _standardize(channel, intensity.mean, intensity.std, (intensity.low, intensity.high))
    if mask is not None:
        scaled = np.zeros(channel.shape, np.float32)
        scaled[mask] = _normalize_channel(channel[mask], kind, intensity, name, None)
        return scaled
    limits = {"percentile": PERCENTILES, "range": RANGE_PERCENTILES}.get(kind)
    if limits is not None:
        channel = np.clip(channel, *np.percentile(channel, limits))
    if channel.min() == channel.max():
        warnings.warn(
            f"{name}: every voxel is {channel.flat[0]:g}; set to 0. Is this the right file?", stacklevel=4
        )
        return np.zeros(channel.shape, np.float32)
    if kind == "range":
        return _standardize(channel, *zero_and_unit(float(channel.min()), float(channel.max())))
    return _standardize(channel, *mean_and_std(channel))


def zero_and_unit(low: float, high: float) -> tuple[float, float]:
    """Which value becomes 0, and how far one is from the next whole number, where ``RANGE`` goes from low to high.

    Example:
        >>> zero_and_unit(100.0, 500.0)
        (150.0, 100.0)
    """
    unit = (high - low) / (RANGE[1] - RANGE[0])
    return low - RANGE[0] * unit, unit


def mean_and_std(channel: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Mean and standard deviation in float64, without a copy of the volume in float64."""
    mean = float(channel.mean(dtype=np.float64))
    squares = sum(float(np.square(part.astype(np.float64) - mean).sum()) for part in _parts(channel))
    return mean, float(np.sqrt(squares / channel.size))


def _standardize(
    channel: npt.NDArray[np.floating], mean: float, std: float, limits: tuple[float, float] | None = None
) -> FloatArray:
    result = np.empty(channel.shape, np.float32)
    for source, target in zip(_parts(channel), _parts(result), strict=True):
        clipped = source if limits is None else np.clip(source, *limits)
        # float64 in between: in float32 a mean of 1e6 would swallow the last digits of the difference
        target[...] = (clipped.astype(np.float64) - mean) / std
    return result


def _parts(channel: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Views of a channel along its first axis, small enough that a copy in float64 costs little memory."""
    rows = max(1, _PART_VOXELS * len(channel) // max(channel.size, 1))
    return [channel[start : start + rows] for start in range(0, len(channel), rows)]
