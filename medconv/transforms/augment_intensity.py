"""Changes of brightness, contrast and sharpness, one function each.

All take ``rows (N, *S)`` float32, one channel of one sample a row, and one strength a row ``(N,)``. All are
pure; the rows are independent of each other; no function waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_TINY = 1e-7


def add_noise(rows: Tensor, std: Tensor, seeds: Sequence[int]) -> Tensor:
    """Add Gaussian noise; a row's noise is a function of its seed alone (on one kind of device).

    Args:
        rows: ``(N, *S)``.
        std: ``(N,)``, in the unit of the image.
        seeds: ``N`` integers.
    """
    generator = torch.Generator(rows.device)
    noise = torch.empty_like(rows)
    for row, seed in zip(noise, seeds, strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return rows + _each(std, rows) * noise


def blur(rows: Tensor, sigma_vox: Tensor, radius: int) -> Tensor:
    """Gaussian blur, the edge voxel repeated outside.

    Sums of shifted copies rather than a convolution: the same code in 2-D and 3-D, in float32 whatever the
    precision settings for convolutions are.

    Args:
        rows: ``(N, *S)``.
        sigma_vox: ``(N,)``, standard deviation in voxels, the same along all axes.
        radius: Voxels to each side at which the Gaussian is cut.
    """
    offsets = torch.arange(radius + 1, device=rows.device, dtype=rows.dtype)
    weights = torch.exp(-0.5 * (offsets / sigma_vox[:, None]) ** 2)
    weights = weights / (2 * weights.sum(1, keepdim=True) - weights[:, :1])
    for axis in range(1, rows.dim()):
        rows = _blur_axis(rows, weights, axis)
    return rows


def multiply(rows: Tensor, factor: Tensor) -> Tensor:
    """Brightness: ``factor · x``."""
    return rows * _each(factor, rows)


def change_contrast(rows: Tensor, factor: Tensor) -> Tensor:
    """Contrast: stretch the distance from the mean, then clamp to the values that the row had before."""
    mean, low, high = _mean(rows), _min(rows), _max(rows)
    return ((rows - mean) * _each(factor, rows) + mean).clamp(low, high)


def lower_resolution(rows: Tensor, scale: Tensor) -> Tensor:
    """Keep ``round(scale · S)`` voxels along each axis (nearest) and interpolate back linearly.

    Equal to two calls of ``interpolate`` (``nearest-exact``, then linear), but all rows at once although each
    has a grid of its own.

    Args:
        rows: ``(N, *S)``.
        scale: ``(N,)``, above 0 and at most 1; 1 changes nothing.
    """
    for axis in range(1, rows.dim()):
        rows = _coarsen_axis(rows, scale, axis)
    return rows


def change_gamma(rows: Tensor, gamma: Tensor) -> Tensor:
    """Power law on the row scaled to 0–1; mean and standard deviation stay what they were.

    Args:
        rows: ``(N, *S)``.
        gamma: ``(N,)``, above 0; below 1 lifts the dark, above 1 the bright end.
    """
    mean, std, low = _mean(rows), _std(rows), _min(rows)
    extent = (_max(rows) - low).clamp_min(_TINY)
    # rounding can leave the smallest value a hair below 0, and its power would be NaN
    curved = ((rows - low) / extent).clamp_min(0) ** _each(gamma, rows) * extent + low
    return (curved - _mean(curved)) * (std / _std(curved).clamp_min(_TINY)) + mean


def change_gamma_inverted(rows: Tensor, gamma: Tensor) -> Tensor:
    """``change_gamma`` of the negative image: the curve bends the bright end instead of the dark one."""
    return -change_gamma(-rows, gamma)


def _each(values: Tensor, rows: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (rows.dim() - 1))


def _min(rows: Tensor) -> Tensor:
    return _each(rows.flatten(1).amin(1), rows)


def _max(rows: Tensor) -> Tensor:
    return _each(rows.flatten(1).amax(1), rows)


def _mean(rows: Tensor) -> Tensor:
    return _each(rows.flatten(1).mean(1), rows)


def _std(rows: Tensor) -> Tensor:
    return _each(rows.flatten(1).std(1, unbiased=False), rows)


def _blur_axis(rows: Tensor, weights: Tensor, axis: int) -> Tensor:
    n, radius = rows.shape[axis], weights.shape[1] - 1
    sides = list(rows.shape)
    sides[axis] = radius
    before, after = rows.narrow(axis, 0, 1).expand(sides), rows.narrow(axis, n - 1, 1).expand(sides)
    padded = torch.cat([before, rows, after], axis)
    blurred = rows * _each(weights[:, 0], rows)
    for k in range(1, radius + 1):
        pair = padded.narrow(axis, radius - k, n) + padded.narrow(axis, radius + k, n)
        blurred = torch.addcmul(blurred, pair, _each(weights[:, k], rows))
    return blurred


def _coarsen_axis(rows: Tensor, scale: Tensor, axis: int) -> Tensor:
    size = rows.shape[axis]
    kept = (scale * size).round().clamp(1, size)[:, None]
    position = (torch.arange(size, device=rows.device, dtype=rows.dtype) + 0.5) * kept / size - 0.5
    position = position.clamp_min(0)
    left = position.floor()
    right = torch.minimum(left + 1, kept - 1)
    share = position - left

    def along(values: Tensor) -> Tensor:
        return values.view(len(rows), *(size if a == axis else 1 for a in range(1, rows.dim())))

    def take(coarse_index: Tensor) -> Tensor:
        source = ((coarse_index + 0.5) * size / kept).floor().clamp_max(size - 1).long()
        return rows.gather(axis, along(source).expand_as(rows))

    return torch.lerp(take(left), take(right), along(share))
