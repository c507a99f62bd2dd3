"""Max pooling over cells that do not overlap, without turning the map to another layout.

The forward pass notes which voxel of its cell was the largest, one byte a cell, and the backward pass writes each
voxel once: no atomic additions, so every run gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.channels_last import (
    channel_block,
    count,
    depth_height_width,
    empty_like,
    is_channels_last,
    rows_of,
)
from medconv.kernels.triton_door import is_usable, jit, tl
from medconv.ndim import MAX_POOL

_TILE = 2048

_LARGEST_CELL = 64
"""Voxels of a cell that a program looks at one after the other."""


def max_pool(x: Tensor, stride: Sequence[int]) -> Tensor:
    """The largest value of each cell of ``stride`` voxels; of equal ones, the first gets the gradient.

    Args:
        x: The map.
        stride: Edge of the cell per axis, in voxels.

    Shape:
        - Input ``(B, C, *S)``, 2-D or 3-D.
        - Output ``(B, C, *floor(S / stride))``, in the type and layout of the input.

    Cost:
        Where it is quick (a GPU, Triton, channels-last, a stride that divides the size): one read of the map, one
        write of the result and of one byte a value; the backward pass reads those and writes the map.

    Example:
        >>> max_pool(torch.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]), (2, 2))
        tensor([[[[3.]]]])
    """
    divides = all(size % step == 0 for size, step in zip(x.shape[2:], stride, strict=True))
    if divides and prod(stride) <= _LARGEST_CELL and is_usable(x) and is_channels_last(x):
        # Triton launches on the current device, whatever device its arguments are on
        with torch.cuda.device_of(x):
            pooled: Tensor = MaxPool.apply(x, tuple(stride))
            return pooled
    return MAX_POOL[len(stride)](x, tuple(stride))


class MaxPool(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: tuple[int, ...]) -> Tensor:
        """See ``max_pool``."""
        size = tuple(n // s for n, s in zip(x.shape[2:], stride, strict=True))
        y, place = empty_like(x, size), empty_like(x, size, torch.uint8)
        _pool[_grid(y)](x, y, place, *_numbers(y), **_blocks(y, stride))
        ctx.save_for_backward(place)
        ctx.shape, ctx.stride = x.shape, stride
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Each cell's gradient goes to its largest voxel."""
        (place,) = ctx.saved_tensors
        grad, pitch = rows_of(grads[0])
        dx = empty_like(grads[0], tuple(ctx.shape[2:]))
        _unpool[_grid(place)](grad, place, dx, *_numbers(place), pitch, **_blocks(place, ctx.stride))
        return dx, None


def _numbers(y: Tensor) -> tuple[int, ...]:
    cells = y.shape[0] * count(tuple(y.shape[2:]))
    return cells, y.shape[1], *depth_height_width(tuple(y.shape[2:]))


def _blocks(y: Tensor, stride: tuple[int, ...]) -> dict[str, int]:
    d, h, w = depth_height_width(stride)
    block = channel_block(y.shape[1])
    return {"SD": d, "SH": h, "SW": w, "BLOCK_N": max(_TILE // block, 1), "BLOCK_C": block}


def _grid(y: Tensor) -> tuple[int, int]:
    block = channel_block(y.shape[1])
    rows = max(_TILE // block, 1)
    return -(-_numbers(y)[0] // rows), -(-y.shape[1] // block)


@jit
def _first_voxel(cell, D, H, W, SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr):
    """Row of a cell's first voxel in the fine map."""
    w = cell % W
    h = (cell // W) % H
    d = (cell // (W * H)) % D
    sample = cell // (W * H * D)
    return ((sample * D * SD + d * SD).to(tl.int64) * (H * SH) + h * SH) * (W * SW) + w * SW


@jit
def _pool(
    x, y, place, cells, C, D, H, W,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    cell = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    cols = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (cell < cells)[:, None] & (cols < C)[None, :]
    row = _first_voxel(cell, D, H, W, SD, SH, SW)
    best = tl.full((BLOCK_N, BLOCK_C), float("-inf"), tl.float32)
    which = tl.zeros((BLOCK_N, BLOCK_C), tl.int32)
    for i in tl.static_range(SD * SH * SW):
        step = ((i // (SH * SW)) * (H * SH) + (i // SW) % SH) * (W * SW) + i % SW
        value = tl.load(x + (row + step)[:, None] * C + cols[None, :], mask=mask, other=0.0).to(tl.float32)
        # a NaN wins, as in PyTorch: a broken map must not look sound after pooling
        better = (value > best) | (value != value)
        best = tl.where(better, value, best)
        which = tl.where(better, i, which)
    target = cell[:, None].to(tl.int64) * C + cols[None, :]
    tl.store(y + target, best, mask=mask)
    tl.store(place + target, which.to(tl.uint8), mask=mask)


@jit
def _unpool(
    grad, place, dx, cells, C, D, H, W, pitch,
    SD: tl.constexpr, SH: tl.constexpr, SW: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    cell = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    cols = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (cell < cells)[:, None] & (cols < C)[None, :]
    row = _first_voxel(cell, D, H, W, SD, SH, SW)
    far = cell[:, None].to(tl.int64)
    value = tl.load(grad + far * pitch + cols[None, :], mask=mask, other=0.0)
    which = tl.load(place + far * C + cols[None, :], mask=mask, other=0).to(tl.int32)
    for i in tl.static_range(SD * SH * SW):
        step = ((i // (SH * SW)) * (H * SH) + (i // SW) % SH) * (W * SW) + i % SW
        tl.store(dx + (row + step)[:, None] * C + cols[None, :], tl.where(which == i, value, 0.0), mask=mask)
