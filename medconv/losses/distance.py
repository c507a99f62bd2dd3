"""Exact Euclidean distances in millimetres on the device, without waiting for it.

Source: Felzenszwalb & Huttenlocher, "Distance Transforms of Sampled Functions", 2012 (the separation into axes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


@torch.no_grad()
def distance_mm(mask: Tensor, spacing_mm: Sequence[float], limit_mm: float) -> Tensor:
    r"""Distance of each voxel to the nearest voxel of a mask, 0 inside it; nothing above ``limit_mm``.

    .. math:: d^2(p) = \min_q \left( f(q) + \sum_a h_a^2 (p_a - q_a)^2 \right)

    one axis after the other, one shifted minimum for each number of voxels up to the limit: no search, no order of
    additions, the same on every run.

    Args:
        mask: Bool.
        spacing_mm: Voxel edge lengths ``h`` of the spatial axes.
        limit_mm: Where measuring ends; an empty mask is this far from everywhere.

    Shape:
        - ``mask`` ``(B, K, *S)``; output the same, float32.

    Cost:
        ``2 limit / h`` passes an axis, at most ``2 n`` for ``n`` voxels.

    Example:
        >>> distance_mm(torch.tensor([[[True, False, False, False]]]), [2.0], limit_mm=5.0)
        tensor([[[0., 2., 4., 5.]]])
    """
    square = torch.where(mask, 0.0, limit_mm**2)
    for axis, edge_mm in enumerate(spacing_mm, start=2):
        square = _along(square, axis, edge_mm, limit_mm)
    return square.sqrt()


@torch.no_grad()
def signed_distance_mm(mask: Tensor, spacing_mm: Sequence[float], limit_mm: float) -> Tensor:
    """Distance to a mask outside it, minus the distance to its outside within it.

    A mask that holds no voxel or every one has no boundary here: 0 everywhere.

    Shape:
        - ``mask`` ``(B, K, *S)``; output the same, float32, between ``-limit_mm`` and ``limit_mm``.

    Example:
        >>> signed_distance_mm(torch.tensor([[[True, True, False, False]]]), [1.0], limit_mm=9.0)
        tensor([[[-2., -1.,  1.,  2.]]])
    """
    axes = tuple(range(2, mask.dim()))
    has_boundary = mask.any(axes, keepdim=True) & ~mask.all(axes, keepdim=True)
    distance = distance_mm(mask, spacing_mm, limit_mm) - distance_mm(~mask, spacing_mm, limit_mm)
    return torch.where(has_boundary, distance, 0.0)


def _along(square: Tensor, axis: int, edge_mm: float, limit_mm: float) -> Tensor:
    size = square.shape[axis]
    nearest = square.clone()
    for shift in range(1, min(size - 1, int(limit_mm / edge_mm)) + 1):
        added, length = (shift * edge_mm) ** 2, size - shift
        for source, target in ((0, shift), (shift, 0)):
            here = nearest.narrow(axis, target, length)
            here.copy_(torch.minimum(here, square.narrow(axis, source, length) + added))
    return nearest
