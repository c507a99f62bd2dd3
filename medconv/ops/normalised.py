"""The maths of normalised convolution: certainty of voxels, certainty of windows, and the convolution itself.

Source: Knutsson & Westin, "Normalized and Differential Convolution", CVPR 1993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from medconv.ndim import AVG_POOL, CONV

EMPTY_WINDOW = 1e-6
"""Below the weight of any voxel (a thousandth): a window with less holds none, and its votes are zero."""

MAX_ENERGY = 1e3
"""Squared contrast beyond which an edge counts as no stronger; weights stay within a factor of a thousand."""


def edge_weight(energy: Tensor, alpha: Tensor, contrast: Tensor) -> Tensor:
    r"""Weight of each voxel, at most 1.

    .. math:: a = (1 + \min(s^2 / \kappa^2, 10^3))^{-\alpha} \; / \; \max_q a(q)

    A power and not an exponential: at ``α = 0`` it is exactly 1, and either sign of ``α`` makes sense. The
    division by the maximum of each sample cancels in normalised convolution and keeps float16 finite.

    Args:
        energy: ``s²``, ``(B, 1, *S)``, in (intensity / mm)², not negative.
        alpha: Exponent, scalar.
        contrast: ``κ`` in intensity / mm, scalar.

    Example:
        >>> edge_weight(torch.tensor([[[[0.0, 3.0]]]]), torch.tensor(1.0), torch.tensor(1.0))
        tensor([[[[1.0000, 0.2500]]]])
    """
    strength = (energy / contrast.square()).clamp(max=MAX_ENERGY)
    weight = torch.exp(-alpha * torch.log1p(strength))
    return weight / weight.detach().amax(dim=tuple(range(1, weight.dim())), keepdim=True)


def window_sum(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Sum of each channel over the window of a convolution kernel; zeros outside.

    Args:
        x: ``(B, C, *S)``.
        kernel_size: Taps per axis.
        stride: Step per axis.
        padding: Zeros on both sides per axis.
        dilation: Distance between taps per axis.

    Cost:
        One pass; ``sum(kernel_size)`` passes for dilated windows and where deterministic algorithms are asked for.

    Example:
        >>> window_sum(torch.ones(1, 1, 2, 3), (3, 3), (1, 1), (1, 1), (1, 1))
        tensor([[[[4., 6., 4.],
                  [4., 6., 4.]]]])
    """
    # neither way is a convolution with ones, which cuDNN would round to TF32
    if max(dilation) == 1 and not torch.are_deterministic_algorithms_enabled():
        pool = AVG_POOL[len(kernel_size)]
        # the 3-D pool refuses a map smaller than its window, whatever padding it is to add itself
        x = F.pad(x, [p for p in reversed(padding) for _ in range(2)])
        return pool(x, tuple(kernel_size), tuple(stride), divisor_override=1)
    for axis, (k, s, p, r) in enumerate(zip(kernel_size, stride, padding, dilation, strict=True), start=2):
        padded = F.pad(x, [0, 0] * (x.dim() - 1 - axis) + [p, p])
        length = padded.shape[axis] - r * (k - 1)
        before = (slice(None),) * axis
        x = padded[(*before, slice(0, length, s))]
        for tap in range(1, k):
            x = x + padded[(*before, slice(r * tap, r * tap + length, s))]
    return x


@dataclass(frozen=True)
class Window:
    """How the windows of a convolution lie: taps, step, zeros on both sides, distance of taps, groups."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1

    def sum(self, x: Tensor) -> Tensor:
        """Sum of each channel over each window."""
        return window_sum(x, self.kernel_size, self.stride, self.padding, self.dilation)

    def spread(self, y: Tensor, size: Sequence[int]) -> Tensor:
        """The transpose of ``sum``: each voxel of ``size`` gets the sum over the windows that it lies in."""
        axes = list(zip(size, self.kernel_size, self.padding, self.dilation, strict=True))
        if max(self.stride) > 1:
            y = _insert_zeros(y, self.stride)
        reach = [r * (k - 1) for _, k, _, r in axes]
        margins = [
            (before - p, n + p - m) for before, (n, _, p, _), m in zip(reach, axes, y.shape[2:], strict=True)
        ]
        y = F.pad(y, [v for margin in reversed(margins) for v in margin])
        ones, none = (1,) * len(axes), (0,) * len(axes)
        return window_sum(y, self.kernel_size, ones, none, self.dilation)

    def convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        """Plain convolution without bias."""
        convolution = CONV[len(self.kernel_size)]
        return convolution(x, weight, None, self.stride, self.padding, self.dilation, self.groups)


def normalised_convolution(
    x: Tensor, certainty: Tensor, weight: Tensor, bias: Tensor | None, full: Tensor, window: Window
) -> Tensor:
    r"""Convolution of ``certainty * x``, rescaled to what the window would weigh if all were certain.

    .. math:: y = \frac{M}{N} \, (W * (a x)) + b, \qquad N = \mathrm{box}(a)

    Its backward pass is written out, so that three maps are kept (one of them the result) instead of six:
    with ``R = M / N`` and ``g`` the gradient of ``y``,

    .. math:: g_u = W^T * (R g), \quad g_x = a \, g_u, \quad
        g_a = \sum_c x_c \, g_{u,c} - \mathrm{box}^T \left( \tfrac{1}{N} \sum_o g_o (y_o - b_o) \right)

    Args:
        x: ``(B, C, *S)``, in the dtype in which to convolve.
        certainty: ``a``, ``(B, 1, *S)``, positive, same dtype.
        weight: ``W``, same dtype.
        bias: ``b``, or none.
        full: ``M``, broadcast to ``(B, 1, *S')``, in the dtype in which to divide.
        window: Geometry of ``W``.

    Example:
        >>> x, a = torch.ones(1, 1, 1, 3), torch.tensor([[[[1.0, 0.5, 0.25]]]])
        >>> window = Window((1, 1), (1, 1), (0, 0), (1, 1))
        >>> normalised_convolution(x, a, torch.full((1, 1, 1, 1), 2.0), None, torch.ones(()), window)
        tensor([[[[2., 2., 2.]]]])
    """
    if not torch.is_grad_enabled():  # exports see ordinary operations only
        return _forward(x * certainty, certainty, weight, bias, full, window)[0]
    return _NormalisedConvolution.apply(x, certainty, weight, bias, full, window)


def _forward(
    u: Tensor, certainty: Tensor, weight: Tensor, bias: Tensor | None, full: Tensor, window: Window
) -> tuple[Tensor, Tensor, Tensor]:
    total = window.sum(certainty.to(full.dtype)).clamp(min=EMPTY_WINDOW)
    rescale = full / total
    y = window.convolve(u, weight).mul_(rescale)  # in place: no second map, and none in float32
    if bias is not None:
        y = y.add_(_along_channels(bias, y))
    return y, total, rescale


class _NormalisedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        certainty: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        full: Tensor,
        window: Window,
    ) -> Tensor:
        u = x * certainty
        y, total, rescale = _forward(u, certainty, weight, bias, full, window)
        ctx.window = window
        ctx.save_for_backward(u, certainty, weight, bias, y, total, rescale)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        u, certainty, weight, bias, y, total, rescale = ctx.saved_tensors
        needs_x, needs_certainty, needs_weight, needs_bias = ctx.needs_input_grad[:4]
        window = ctx.window
        gz = g * rescale.to(g.dtype)
        gu, gw, _ = torch.ops.aten.convolution_backward(
            gz,
            u,
            weight,
            None,
            window.stride,
            window.padding,
            window.dilation,
            False,
            (0,) * len(window.stride),
            window.groups,
            (needs_x or needs_certainty, needs_weight, False),
        )
        ga = gb = None
        if needs_certainty:
            voted = y if bias is None else y - _along_channels(bias, y)
            lost = (g * voted).sum(dim=1, keepdim=True, dtype=total.dtype) / total
            gained = (u * gu).sum(dim=1, keepdim=True, dtype=total.dtype) / certainty
            ga = (gained - window.spread(lost, u.shape[2:])).to(certainty.dtype)
        if needs_bias:
            gb = g.sum(dim=[d for d in range(g.dim()) if d != 1], dtype=total.dtype).to(bias.dtype)
        return gu * certainty if needs_x else None, ga, gw, gb, None, None


def _along_channels(bias: Tensor, y: Tensor) -> Tensor:
    return bias.view(-1, *[1] * (y.dim() - 2))


def _insert_zeros(y: Tensor, stride: Sequence[int]) -> Tensor:
    """``y`` with ``stride - 1`` zeros between neighbours."""
    size = [(n - 1) * s + 1 for n, s in zip(y.shape[2:], stride, strict=True)]
    wide = y.new_zeros(*y.shape[:2], *size)
    wide[(slice(None), slice(None), *(slice(None, None, s) for s in stride))] = y
    return wide
