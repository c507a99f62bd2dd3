r"""Doubling a grid by linear interpolation, and its gradient, without atomic additions.

Along one axis, fine voxel :math:`2i` is :math:`\tfrac14 x_{i-1} + \tfrac34 x_i` and :math:`2i + 1` is
:math:`\tfrac34 x_i + \tfrac14 x_{i+1}`, the edge repeated outside. The gradient of a coarse voxel is gathered from
the four fine ones an axis that it went to, so every run gives the same bits; PyTorch scatters and does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
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
from medconv.ndim import LINEAR_MODE

_TILE = 2048


def upsample_linear(x: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate a map linearly to another grid over the same field (``align_corners=False``).

    Args:
        x: The map.
        size: Spatial size of the result.

    Shape:
        - Input ``(B, C, *S)``, 2-D or 3-D.
        - Output ``(B, C, *size)``. Under autocast the quick way keeps the type of the input, PyTorch's returns float32.

    Cost:
        Where it is quick (a GPU, Triton, channels-last, each axis kept or doubled): one read and one write of the maps.

    Example:
        >>> upsample_linear(torch.tensor([[[[0.0, 4.0]]]]), (1, 4))
        tensor([[[[0., 1., 3., 4.]]]])
    """
    doubled = tuple(new // old for new, old in zip(size, x.shape[2:], strict=True))
    fits = all(n in (1, 2) and n * old == new for n, old, new in zip(doubled, x.shape[2:], size, strict=True))
    if fits and is_usable(x) and is_channels_last(x):
        # Triton launches on the current device, whatever device its arguments are on
        with torch.cuda.device_of(x):
            fine: Tensor = UpsampleLinear.apply(x, doubled)
            return fine
    return F.interpolate(x, size=tuple(size), mode=LINEAR_MODE[len(size)])


class UpsampleLinear(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ratio: tuple[int, ...]) -> Tensor:
        """See ``upsample_linear``; ``ratio`` is 1 or 2 per axis."""
        ctx.ratio, ctx.size = ratio, tuple(x.shape[2:])
        y = empty_like(x, tuple(n * r for n, r in zip(ctx.size, ratio, strict=True)))
        _spread[_grid(y)](x, y, *_numbers(y, ctx.size), **_blocks(y, ratio))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Each coarse voxel gathers what went out from it."""
        grad, pitch = rows_of(grads[0])
        dx = empty_like(grads[0], ctx.size)
        _gather[_grid(dx)](grad, dx, *_numbers(dx, ctx.size), pitch, **_blocks(dx, ctx.ratio))
        return dx, None


def _numbers(y: Tensor, coarse: tuple[int, ...]) -> tuple[int, ...]:
    return y.shape[0] * count(tuple(y.shape[2:])), y.shape[1], *depth_height_width(coarse)


def _blocks(y: Tensor, ratio: tuple[int, ...]) -> dict[str, int]:
    d, h, w = depth_height_width(ratio)
    block = channel_block(y.shape[1])
    return {"RD": d, "RH": h, "RW": w, "BLOCK_N": max(_TILE // block, 1), "BLOCK_C": block}


def _grid(y: Tensor) -> tuple[int, int]:
    block = channel_block(y.shape[1])
    rows = max(_TILE // block, 1)
    return -(-y.shape[0] * count(tuple(y.shape[2:])) // rows), -(-y.shape[1] // block)


@jit
def _source(o, n, upper: tl.constexpr, R: tl.constexpr):
    """Coarse voxel below or above a fine one, and its weight."""
    if R == 1:
        index = o
        weight = o * 0.0 + (0.0 if upper else 1.0)
    else:
        odd = o % 2
        low = o // 2 - 1 + odd
        index = tl.minimum(tl.maximum(low + (1 if upper else 0), 0), n - 1)
        share = tl.where(odd == 1, 0.25, 0.75)
        weight = share if upper else 1.0 - share
    return index, weight


@jit
def _spread(
    x, y, rows, C, D, H, W,
    RD: tl.constexpr, RH: tl.constexpr, RW: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    cols = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (row < rows)[:, None] & (cols < C)[None, :]
    w = row % (W * RW)
    h = (row // (W * RW)) % (H * RH)
    d = (row // (W * RW * H * RH)) % (D * RD)
    sample = (row // (W * RW * H * RH * D * RD)).to(tl.int64)
    total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for i in tl.static_range(RD):
        di, dw = _source(d, D, i == 1, RD)
        for j in tl.static_range(RH):
            hj, hw = _source(h, H, j == 1, RH)
            for k in tl.static_range(RW):
                wk, ww = _source(w, W, k == 1, RW)
                source = ((sample * D + di) * H + hj) * W + wk
                value = tl.load(x + source[:, None] * C + cols[None, :], mask=mask, other=0.0).to(tl.float32)
                total += (dw * hw * ww)[:, None] * value
    tl.store(y + row[:, None].to(tl.int64) * C + cols[None, :], total, mask=mask)


@jit
def _target(i, n, tap: tl.constexpr, R: tl.constexpr):
    """One of the fine voxels that a coarse one went to, and with which weight; 0 if there is none."""
    if R == 1:
        index = i
        weight = i * 0.0 + 1.0
    else:
        index = 2 * i - 1 + tap
        if tap == 0:
            weight = tl.where(i > 0, 0.25, 0.0)
        elif tap == 1:
            weight = tl.where(i == 0, 1.0, 0.75)
        elif tap == 2:
            weight = tl.where(i == n - 1, 1.0, 0.75)
        else:
            weight = tl.where(i < n - 1, 0.25, 0.0)
        index = tl.minimum(tl.maximum(index, 0), 2 * n - 1)
    return index, weight


@jit
def _gather(
    grad, dx, rows, C, D, H, W, pitch,
    RD: tl.constexpr, RH: tl.constexpr, RW: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    cols = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (row < rows)[:, None] & (cols < C)[None, :]
    w = row % W
    h = (row // W) % H
    d = (row // (W * H)) % D
    sample = (row // (W * H * D)).to(tl.int64)
    total = tl.zeros((BLOCK_N, BLOCK_C), tl.float32)
    for i in tl.static_range(3 * RD - 2):
        di, dw = _target(d, D, i, RD)
        for j in tl.static_range(3 * RH - 2):
            hj, hw = _target(h, H, j, RH)
            for k in tl.static_range(3 * RW - 2):
                wk, ww = _target(w, W, k, RW)
                source = ((sample * (D * RD) + di) * (H * RH) + hj) * (W * RW) + wk
                value = tl.load(grad + source[:, None] * pitch + cols[None, :], mask=mask, other=0.0)
                total += (dw * hw * ww)[:, None] * value.to(tl.float32)
    tl.store(dx + row[:, None].to(tl.int64) * C + cols[None, :], total, mask=mask)
