"""Noise, blur, contrast and gamma on an image as it is stored, before anything is prepared for a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from medconv.errors import ConfigError
from medconv.io import Volume
from medconv.study.conditions import KINDS, Condition
from medconv.transforms.augment_intensity import add_noise, change_contrast, change_gamma
from medconv.transforms.keyed_random import hash_numbers
from medconv.transforms.normalize import mean_and_std

NoiseUnit = Literal["sd", "image"]
"""What the level of Gaussian noise is a multiple of: the image's own standard deviation, or its unit."""

BRIGHT_PERCENTILE = 99.5
"""Of the values above the smallest one: where shot noise has its level."""

Channels = npt.NDArray[np.float32]


def disturb(
    volume: Volume, condition: Condition, case_id: str, seed: int = 0, noise_unit: NoiseUnit = "sd"
) -> Volume:
    r"""The volume under a condition, on the same grid; every channel for itself.

    - ``noise``: :math:`x + \sigma n`, :math:`n` standard normal, :math:`\sigma` the level times the standard
      deviation of the channel (``noise_unit="sd"``) or the level itself (``"image"``).
    - ``shot``: :math:`x_0 + P(N (x - x_0) / b) \, b / N` with Poisson counts :math:`P`, the smallest value
      :math:`x_0`, the bright end :math:`b` (99.5th percentile above :math:`x_0`) and :math:`N = 1 / level^2`
      counts there: the level is the relative noise of the bright end, 0.1 being 100 photons.
    - ``blur``: a Gaussian of the level as standard deviation, in mm along every axis (in pixels where the
      geometry is in pixels); the border value goes on outside.
    - ``contrast``: distances from the mean times the level, clipped to the range the channel had.
    - ``gamma``: the level as power of values scaled to 0-1; mean and standard deviation stay.

    Noise is a function of seed, case, condition and channel alone: whichever networks look at it and in
    whichever order, they look at the same image.

    Args:
        volume: An image.
        condition: Of any kind but a rotation.
        case_id: Name of the case.
        seed: Of the noise.
        noise_unit: See above.

    Raises:
        ConfigError: A rotation, which changes the grid: see ``Rotation``.

    Example:
        >>> from medconv.io import volume_from_array
        >>> image = volume_from_array(np.arange(8.0).reshape(2, 2, 2), (1.0, 1.0, 1.0))
        >>> disturb(image, Condition("contrast", 0.5), "a").data.ravel().tolist()
        [1.75, 2.25, 2.75, 3.25, 3.75, 4.25, 4.75, 5.25]
    """
    if condition.kind not in _DISTURBANCES:
        raise ConfigError(f"expected a disturbance of grey values, got {condition.words!r}")
    data = np.ascontiguousarray(volume.data, np.float32)
    keys = [_key(seed, case_id, condition, channel) for channel in range(len(data))]
    level = np.full(len(data), condition.level)
    if condition.kind == "noise" and noise_unit == "sd":
        level = level * [mean_and_std(channel)[1] for channel in data]
    disturbed = _DISTURBANCES[condition.kind](data, level, keys, volume.geometry.spacing_mm)
    return replace(volume, data=np.ascontiguousarray(disturbed, np.float32))


def _key(seed: int, case_id: str, condition: Condition, channel: int) -> int:
    """A number for torch and NumPy alike: 0 to 2^63 - 1."""
    level = np.float64(condition.level).view(np.int64)
    kind = list(KINDS).index(condition.kind)
    return int(hash_numbers(seed, crc32(case_id.encode()), kind, level, channel)) >> 1


def _gaussian_noise(data: Channels, level: Any, keys: list[int], spacing: Any) -> Any:
    del spacing
    return add_noise(torch.from_numpy(data), torch.from_numpy(level).float(), keys).numpy()


def _shot_noise(data: Channels, level: Any, keys: list[int], spacing: Any) -> Any:
    del spacing
    result = np.empty_like(data)
    for channel, own, key, target in zip(data, level, keys, result, strict=True):
        above = channel.astype(np.float64) - channel.min()
        bright = float(np.percentile(above, BRIGHT_PERCENTILE)) or float(above.max())
        if not bright:  # one value everywhere: there is no scale to count on
            target[...] = channel
            continue
        counts_a_unit = 1 / (own**2 * bright)
        counts = np.random.default_rng(key).poisson(above * counts_a_unit)
        target[...] = counts / counts_a_unit + channel.min()
    return result


def _blur(data: Channels, level: Any, keys: list[int], spacing: Any) -> Any:
    del keys
    sigma_vox = [
        own / length if n > 1 else 0.0
        for own, length, n in zip(np.full(3, level[0]), spacing, data.shape[1:], strict=True)
    ]
    return np.stack([ndimage.gaussian_filter(channel, sigma_vox, mode="nearest") for channel in data])


def _of_rows(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    def changed(data: Channels, level: Any, keys: list[int], spacing: Any) -> Any:
        del keys, spacing
        return change(torch.from_numpy(data), torch.from_numpy(level).float()).numpy()

    return changed


_DISTURBANCES: dict[str, Callable[..., Any]] = {
    "noise": _gaussian_noise,
    "shot": _shot_noise,
    "blur": _blur,
    "contrast": _of_rows(change_contrast),
    "gamma": _of_rows(change_gamma),
}
