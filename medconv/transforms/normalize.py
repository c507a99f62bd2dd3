"""Intensities on a scale that a network can work with, channel by channel."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medconv.planning import Intensity

FloatArray = npt.NDArray[np.float32]

_PERCENTILES = (0.5, 99.5)


def normalize(
    data: npt.NDArray[np.floating],
    kinds: Sequence[str],
    intensity: Sequence[Intensity | None],
    name: str = "the volume",
) -> FloatArray:
    """Scale each channel in its own way.

    Args:
        data: ``(C, *S)``, finite.
        kinds: One a channel. ``"zscore"``: mean 0 and standard deviation 1 over all voxels. ``"percentile"``:
            first clipped to its own 0.5th and 99.5th percentile, for scans with bright artefacts. ``"ct"``:
            clipped and scaled by the intensities of the whole dataset, so that a Hounsfield unit stays one.
            ``"none"``: as it is.
        intensity: One entry a channel; used by ``"ct"``.
        name: How warnings call the volume.

    Returns:
        ``(C, *S)`` float32, finite. A channel with one value only becomes 0, with a warning.
    """
    channels = [
        _normalize_channel(channel, kind, entry, f"{name}, channel {number}")
        for number, (channel, kind, entry) in enumerate(zip(data, kinds, intensity, strict=True))
    ]
    return np.stack(channels)


def _normalize_channel(
    channel: npt.NDArray[np.floating], kind: str, intensity: Intensity | None, name: str
) -> FloatArray:
    if kind == "none":
        return channel.astype(np.float32)
    if kind == "ct":
        assert intensity is not None, "a plan with 'ct' has intensities"
        clipped = np.clip(channel, intensity.low, intensity.high)
        return _standardize(clipped, intensity.mean, intensity.std)
    if kind == "percentile":
        channel = np.clip(channel, *np.percentile(channel, _PERCENTILES))
    if channel.min() == channel.max():
        warnings.warn(
            f"{name}: every voxel is {channel.flat[0]:g}; set to 0. Is this the right file?", stacklevel=4
        )
        return np.zeros(channel.shape, np.float32)
    return _standardize(channel, float(channel.mean(dtype=np.float64)), float(channel.std(dtype=np.float64)))


def _standardize(channel: npt.NDArray[np.floating], mean: float, std: float) -> FloatArray:
    # float64 in between: in float32 a mean of 1e6 would swallow the last digits of the difference
    return ((channel.astype(np.float64) - mean) / std).astype(np.float32)
