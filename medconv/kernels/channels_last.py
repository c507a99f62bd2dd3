"""The layout in which the channels of a voxel lie side by side: ``(B, *S, C)`` in memory, ``(B, C, *S)`` by name."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeVar

import torch
from torch import Tensor, nn

from medconv.kernels.triton_door import next_power_of_2

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}

_MOST_CHANNELS = 128
"""Channels that one program works on."""


def is_channels_last(x: Tensor) -> bool:
    """Whether a map lies densely in memory as ``(B, *S, C)``.

    Example:
        >>> x = torch.zeros(1, 4, 6, 6)
        >>> is_channels_last(x), is_channels_last(x.to(memory_format=torch.channels_last))
        (False, True)
    """
    return x.dim() in FORMATS and x.is_contiguous(memory_format=FORMATS[x.dim()])


M = TypeVar("M", Tensor, nn.Module)


def to_channels_last(value: M) -> M:
    """A map, or (in place) a module with all its kernels, in channels-last layout; the same numbers.

    Example:
        >>> to_channels_last(torch.nn.Conv3d(4, 4, 3)).weight.stride()[1]
        1
    """
    if isinstance(value, Tensor):
        if value.shape[1] == 1 and value.stride(1) != 1:
            # one channel is both layouts at once, and PyTorch would call it the other one
            return empty_like(value).copy_(value)
        return value.contiguous(memory_format=FORMATS[value.dim()])
    for parameter in value.parameters():
        if parameter.dim() in FORMATS:
            parameter.data = to_channels_last(parameter.data)
    return value


def to_contiguous(module: nn.Module) -> nn.Module:
    """Undo ``to_channels_last`` in a module.

    Example:
        >>> to_contiguous(to_channels_last(torch.nn.Conv3d(4, 4, 3))).weight.is_contiguous()
        True
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    return module


def concatenate(maps: Sequence[Tensor]) -> Tensor:
    """Maps side by side in channels, as ``torch.cat(maps, dim=1)``.

    Channels-last maps are joined as matrices of rows, for which PyTorch has one quick kernel; for maps of five axes it
    copies each value with an address of its own.

    Shape:
        - Inputs ``(B, C_i, *S)``; output ``(B, sum of C_i, *S)``.

    Example:
        >>> concatenate([torch.zeros(1, 2, 4, 4), torch.ones(1, 3, 4, 4)]).shape
        torch.Size([1, 5, 4, 4])
    """
    if not all(is_channels_last(x) for x in maps) or any(x.shape[1] == 1 for x in maps):
        return torch.cat(list(maps), dim=1)
    first = maps[0].movedim(1, -1)
    rows = torch.cat([x.movedim(1, -1).flatten(0, -2) for x in maps], dim=1)
    return rows.unflatten(0, first.shape[:-1]).movedim(-1, 1)


def rows_of(x: Tensor) -> tuple[Tensor, int]:
    """A map as rows of channels, with the distance between rows; copied only if its voxels are not evenly spaced.

    The gradient of a concatenation is a slice of channels of a larger map: its rows are apart, but evenly.
    """
    pitch = x.stride(-1)
    expected = pitch
    for size, stride in zip(reversed(x.shape[2:]), reversed(x.stride()[2:]), strict=True):
        if size > 1 and stride != expected:
            return to_channels_last(x), x.shape[1]
        expected *= size
    even = x.stride(1) == 1 and (x.shape[0] == 1 or x.stride(0) == expected) and pitch >= x.shape[1]
    return (x, pitch) if even else (to_channels_last(x), x.shape[1])


def empty_like(x: Tensor, spatial: tuple[int, ...] | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """An empty channels-last map beside ``x``, of another spatial size or type where given."""
    return torch.empty(
        (*x.shape[:2], *(spatial or x.shape[2:])),
        dtype=dtype or x.dtype,
        device=x.device,
        memory_format=FORMATS[x.dim()],
    )


def channel_block(channels: int) -> int:
    """How many channels one program takes: a power of two, wasting little.

    Example:
        >>> [channel_block(c) for c in (1, 32, 320, 24, 100)]
        [1, 32, 64, 32, 128]
    """
    whole = next((n for n in (128, 64, 32) if channels % n == 0), None)
    return whole or min(next_power_of_2(channels), _MOST_CHANNELS)


def depth_height_width(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    """Three sizes, the first one 1 in 2-D."""
    d, h, w = (1, *sizes)[-3:]
    return d, h, w


def count(sizes: tuple[int, ...]) -> int:
    """Voxels of a spatial shape."""
    return prod(sizes)
