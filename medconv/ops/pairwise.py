"""Convolution that weighs each pair of voxels by how unlike they are: nothing is mixed across an edge.

Source: Tomasi & Manduchi, "Bilateral Filtering for Gray and Color Images", ICCV 1998; Su et al.,
"Pixel-Adaptive Convolutional Neural Networks", CVPR 2019 (weights inside a convolution).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import log1p

import torch
import torch.nn.functional as F
from torch import Tensor

from medconv.ndim import CONV
from medconv.ops.normalised import EMPTY_WINDOW, MAX_ENERGY, Window


def pairwise_convolution(
    x: Tensor,
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    contrast: Tensor,
    window: Window,
    spacing_mm: Sequence[float],
    *,
    counts_outside: bool = False,
) -> Tensor:
    r"""Normalised convolution whose certainty belongs to pairs of voxels.

    .. math:: y(q) = \frac{M(q)}{N(q)} \sum_\delta W_\delta \, \omega(q, \delta) \, x(q + \delta), \quad
        \omega = \left(1 + \frac{\sum_c (I_c(q + \delta) - I_c(q))^2}{\|h \delta\|^2 \kappa^2}\right)^{-\alpha},
        \quad N = \sum_\delta \omega

    Args:
        x: ``(B, C, *S)``, in the dtype in which to convolve.
        image: ``I``, ``(B, C_I, *S)``, float32 or float64.
        weight: ``W``, dtype of ``x``; odd sizes.
        alpha: Exponent, scalar.
        contrast: ``κ`` in intensity / mm, scalar.
        window: Geometry of ``W``.
        spacing_mm: Voxel edges ``h``, one an axis.
        counts_outside: Whether ``M`` counts the taps outside the volume (``border="partial"``).

    Cost:
        ``prod(kernel_size)`` copies of ``x`` in memory, and as many passes.

    Example:
        >>> x, one = torch.tensor([[[[1.0, 2.0, 9.0]]]]), torch.tensor(1.0)
        >>> window = Window((1, 3), (1, 1), (0, 1), (1, 1))
        >>> kernel = torch.full((1, 1, 1, 3), 1 / 3)
        >>> pairwise_convolution(x, 1000 * x, kernel, one, one, window, (1.0, 1.0)).round(decimals=2)
        tensor([[[[0.6700, 2.0100, 6.0000]]]])
    """
    dims = x.dim() - 2
    size = _output_size(x, window)
    centre = tuple((k - 1) // 2 for k in window.kernel_size)
    padded = [_pad(v, window) for v in (x, image, torch.ones_like(image[:1, :1]))]
    middle = _shifted(padded[1], centre, size, window)
    columns, total, inside = [], torch.zeros((), device=x.device), torch.zeros((), device=x.device)
    for tap in product(*map(range, window.kernel_size)):
        there, value, valid = (_shifted(v, tap, size, window) for v in padded)
        steps = zip(tap, centre, window.dilation, spacing_mm, strict=True)
        distance = sum(((t - c) * r * h) ** 2 for t, c, r, h in steps) or 1.0
        unlike = (value - middle).square().sum(dim=1, keepdim=True) / (distance * contrast.square())
        pair = (_power(unlike, alpha) * valid).to(x.dtype)
        columns.append(there * pair)
        total, inside = total + pair.to(image.dtype), inside + valid
    votes = CONV[dims](
        torch.stack(columns, dim=2).flatten(1, 2),
        weight.flatten(1).reshape(len(weight), -1, *[1] * dims),
        groups=window.groups,
    )
    full = torch.full_like(inside, len(columns)) if counts_outside else inside
    return (votes * (full / total.clamp(min=EMPTY_WINDOW))).to(votes.dtype)


def _power(unlike: Tensor, alpha: Tensor) -> Tensor:
    # a factor common to all pairs, which cancels, keeps weights below 1 for either sign of the exponent
    log_scale = (-alpha).clamp(min=0).detach() * log1p(MAX_ENERGY)
    return torch.exp(-alpha * torch.log1p(unlike.clamp(max=MAX_ENERGY)) - log_scale)


def _output_size(x: Tensor, window: Window) -> list[int]:
    axes = zip(x.shape[2:], window.kernel_size, window.stride, window.padding, window.dilation, strict=True)
    return [(n + 2 * p - r * (k - 1) - 1) // s + 1 for n, k, s, p, r in axes]


def _pad(x: Tensor, window: Window) -> Tensor:
    return F.pad(x, [p for p in reversed(window.padding) for _ in range(2)])


def _shifted(padded: Tensor, tap: Sequence[int], size: Sequence[int], window: Window) -> Tensor:
    """What one tap of every window sees."""
    axes = zip(tap, size, window.stride, window.dilation, strict=True)
    places = tuple(slice(r * t, r * t + s * (n - 1) + 1, s) for t, n, s, r in axes)
    return padded[(slice(None), slice(None), *places)]
