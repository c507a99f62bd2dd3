"""The maths of normalised convolution: how certain each voxel is, and how much certainty a window holds.

Source: Knutsson & Westin, "Normalized and Differential Convolution", CVPR 1993.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from medconv.ndim import AVG_POOL

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
