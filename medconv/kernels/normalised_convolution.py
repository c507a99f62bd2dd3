r"""Gradient-weighted convolution: all around its two convolutions in as few passes over the maps as there can be.

With :math:`a` the certainty of a voxel, :math:`N` that of a window and :math:`R = M / N`, the forward pass multiplies
the input by :math:`a` and the result by :math:`R`. Backwards, one pass makes :math:`R g` and, in each voxel,
:math:`\sum_o g_o (y_o - b_o) / N`; another makes :math:`a \, g_u` and :math:`\sum_c u_c \, g_{u,c} / a`. What has one
channel only is small beside that.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.kernels.certainty import Windows, certainty_gradient, sum_windows, weigh
from medconv.kernels.channels_last import (
    channel_block,
    count,
    empty_like,
    is_channels_last,
    rows_of,
    to_channels_last,
)
from medconv.kernels.triton_door import is_usable, jit, tl
from medconv.ndim import CONV

_TILE = 4096
"""Values that one program works on."""

_MOST_TAPS = 125
"""Each voxel looks at its whole window; beyond this, sums along the axes one after the other are quicker."""


def gradient_weighted_convolution(
    x: Tensor,
    energy: Tensor,
    alpha: Tensor,
    contrast: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    window: Windows,
    partial: bool,
    bounds: tuple[float, float],
) -> Tensor | None:
    """``medconv.ops.GradientWeightedConv`` in its source mode; ``None`` where the quick way is closed.

    Args:
        x: ``(B, C, *S)``, channels-last, in the type in which to convolve.
        energy: ``(B, 1, *S)`` float32; gets no gradient.
        alpha: Exponent, scalar.
        contrast: ``κ``, scalar.
        weight: In the type of ``x``.
        bias: Or none.
        window: Geometry.
        partial: Whether windows that reach outside are scaled up.
        bounds: Largest squared contrast; smallest weight of a window.
    """
    taps = count(window.kernel_size)
    if not is_usable(x) or not is_channels_last(x) or energy.requires_grad or taps > _MOST_TAPS:
        return None
    # Triton launches on the current device, whatever device its arguments are on
    with torch.cuda.device_of(x):
        y: Tensor = NormalisedConvolution.apply(
            x, energy, alpha, contrast, weight, bias, window, partial, bounds
        )
        return y


class NormalisedConvolution(torch.autograd.Function):
    """The quick way, and its gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        energy: Tensor,
        alpha: Tensor,
        contrast: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        window: Windows,
        partial: bool,
        bounds: tuple[float, float],
    ) -> Tensor:
        """See ``gradient_weighted_convolution``."""
        energy = energy.contiguous()
        certainty = weigh(energy, alpha, contrast, x.dtype, most=bounds[0])
        u = empty_like(x)
        _scale(x, certainty, None, u)
        geometry = (window.stride, window.padding, window.dilation, window.groups)
        y = to_channels_last(CONV[x.dim() - 2](u, weight, None, *geometry))
        total, rescale = sum_windows(certainty, window, tuple(y.shape[2:]), partial, empty=bounds[1])
        _scale(y, rescale, bias, y)
        ctx.save_for_backward(u, certainty, energy, alpha, contrast, weight, bias, y, total, rescale)
        ctx.window, ctx.most = window, bounds[0]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of the map, the exponent, the contrast, the kernel and the bias."""
        u, certainty, energy, alpha, contrast, weight, bias, y, total, rescale = ctx.saved_tensors
        window = ctx.window
        needs_certainty = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        gz, lost = _split(grads[0], y, bias, rescale, total)
        gu, gw, _ = torch.ops.aten.convolution_backward(
            gz, u, weight, None, window.stride, window.padding, window.dilation, False,
            (0,) * len(window.stride), window.groups,
            (ctx.needs_input_grad[0] or needs_certainty, ctx.needs_input_grad[4], False),
        )  # fmt: skip
        gx = g_alpha = g_contrast = gb = None
        if gu is not None:
            gx, gained = _split(gu, u, None, certainty, certainty)
            if needs_certainty:
                g_alpha, g_contrast = certainty_gradient(
                    gained, lost, energy, certainty, alpha, contrast, window, ctx.most
                ).to(alpha.dtype)
        if ctx.needs_input_grad[5]:
            g = grads[0]
            gb = g.sum(dim=[d for d in range(g.dim()) if d != 1], dtype=torch.float32).to(bias.dtype)
        return gx, None, g_alpha, g_contrast, gw, gb, None, None, None


def _scale(x: Tensor, factor: Tensor, bias: Tensor | None, y: Tensor) -> None:
    """Multiply each voxel by its factor, and add the bias; ``y`` may be ``x``."""
    block = channel_block(x.shape[1])
    tile = max(_TILE // block, 1)
    grid = (-(-factor.numel() // tile), -(-x.shape[1] // block))
    _scale_rows[grid](
        x, factor, factor if bias is None else bias, y, factor.numel(), x.shape[1],
        HAS_BIAS=bias is not None, BLOCK_N=tile, BLOCK_C=block,
    )  # fmt: skip


def _split(
    grad: Tensor, y: Tensor, bias: Tensor | None, factor: Tensor, total: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient times the factor of its voxel, and in each voxel ``sum(grad * (y - bias)) / total``."""
    grad, pitch = rows_of(grad)
    scaled = empty_like(y, dtype=grad.dtype)
    sums = torch.empty(total.shape, dtype=torch.float32, device=y.device)
    channels = y.shape[1]
    block = channel_block(channels)
    tile = max(_TILE // block, 1)
    _split_rows[(-(-sums.numel() // tile),)](
        grad, y, factor if bias is None else bias, factor, total, scaled, sums, sums.numel(), channels, pitch,
        HAS_BIAS=bias is not None, BLOCKS=-(-channels // block), BLOCK_N=tile, BLOCK_C=block,
    )  # fmt: skip
    return scaled, sums


@jit
def _scale_rows(
    x, factor, bias, y, rows, C, HAS_BIAS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr
):
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    cols = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (row < rows)[:, None] & (cols < C)[None, :]
    place = row[:, None].to(tl.int64) * C + cols[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    value = value * tl.load(factor + row, mask=row < rows, other=0.0).to(tl.float32)[:, None]
    if HAS_BIAS:
        value += tl.load(bias + cols, mask=cols < C, other=0.0).to(tl.float32)[None, :]
    tl.store(y + place, value, mask=mask)


@jit
def _split_rows(
    grad, y, bias, factor, total, scaled, sums, rows, C, pitch,
    HAS_BIAS: tl.constexpr, BLOCKS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    far = row[:, None].to(tl.int64)
    scale = tl.load(factor + row, mask=row < rows, other=0.0).to(tl.float32)
    product = tl.zeros((BLOCK_N,), tl.float32)
    for block in range(BLOCKS):
        cols = block * BLOCK_C + tl.arange(0, BLOCK_C)
        mask = (row < rows)[:, None] & (cols < C)[None, :]
        g = tl.load(grad + far * pitch + cols[None, :], mask=mask, other=0.0).to(tl.float32)
        value = tl.load(y + far * C + cols[None, :], mask=mask, other=0.0).to(tl.float32)
        if HAS_BIAS:
            value -= tl.load(bias + cols, mask=cols < C, other=0.0).to(tl.float32)[None, :]
        product += tl.sum(g * value, 1)
        tl.store(scaled + far * C + cols[None, :], g * scale[:, None], mask=mask)
    tl.store(
        sums + row, product / tl.load(total + row, mask=row < rows, other=1.0).to(tl.float32), mask=row < rows
    )
