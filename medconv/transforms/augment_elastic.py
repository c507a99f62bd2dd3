"""Smooth deformation of patches: a few points are moved, and a cubic spline moves what lies between them.

Source: Simard et al., "Best Practices for Convolutional Neural Networks", ICDAR 2003 (the idea); Rueckert et al.,
"Nonrigid Registration Using Free-Form Deformations", IEEE TMI 1999 (the splines).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil

import torch
from torch import Tensor

from medconv.transforms.patch_sampling import largest_share

_SQUARE_OF_SPLINE = 151 / 315
"""Integral of the squared cubic B-spline: by so much it shrinks the variance of its coefficients, along each axis."""


def grid_shape(patch: Sequence[int], grid_vox: float) -> tuple[int, ...]:
    """Moved points along each axis of a patch: those inside, and those just outside that have a say inside.

    Example:
        >>> grid_shape((33, 16), 16.0)
        (6, 4)
    """
    return tuple(ceil((size - 1) / grid_vox) + 3 + (((size - 1) / grid_vox) % 1 == 0) for size in patch)


def displacement_vox(coefficients: Tensor, patch: Sequence[int], grid_vox: float) -> Tensor:
    """How far each voxel of a patch is moved.

    Args:
        coefficients: Of the splines, with the standard deviation that the displacement is to have.
        patch: ``*P``.
        grid_vox: Distance of the moved points.

    Shape:
        - ``coefficients`` ``(n, d, *G)`` with ``G = grid_shape(patch, grid_vox)``; output ``(n, d, *P)``.
    """
    moved = coefficients
    for axis, size in enumerate(patch, start=2):
        basis = _spline_basis(size, moved.shape[axis], grid_vox).to(moved) / _SQUARE_OF_SPLINE**0.5
        moved = torch.tensordot(moved, basis, dims=([axis], [1])).movedim(-1, axis)
    return moved


def deform(image: Tensor, label: Tensor, moved_vox: Tensor) -> tuple[Tensor, Tensor]:
    r"""Patches with every voxel taken from where the displacement points.

    .. math:: y(q) = x(q + u(q))

    Images are interpolated linearly, a voxel gets the label with the largest linear share, the smaller one of two with
    equal shares; beyond the patch its edge goes on.

    Shape:
        - ``image`` ``(n, C, *P)``, ``label`` ``(n, 1, *P)``, ``moved_vox`` ``(n, d, *P)``; outputs as the inputs.

    Cost:
        ``2^d`` gathers of image and label, ``4^d`` comparisons a voxel.
    """
    patch = image.shape[2:]
    below, fraction = [], []
    for axis, size in enumerate(patch):
        own = torch.arange(size, device=image.device).view(-1, *[1] * (len(patch) - axis - 1))
        position = (own + moved_vox[:, axis]).clamp(0, size - 1)
        floor = position.floor().clamp(max=max(size - 2, 0))
        below.append(floor.to(torch.int64))
        fraction.append(position - floor)
    total = torch.zeros_like(image)
    corners = []
    for upper in product((0, 1), repeat=len(patch)):
        index, share = torch.zeros_like(below[0]), torch.ones_like(fraction[0])
        for axis, (size, up) in enumerate(zip(patch, upper, strict=True)):
            index = index * size + (below[axis] + up).clamp(max=size - 1)
            share = share * (fraction[axis] if up else 1 - fraction[axis])
        flat = index.flatten(1)[:, None]
        total += (
            image.flatten(2).gather(2, flat.expand(-1, image.shape[1], -1)).view_as(image) * share[:, None]
        )
        corners.append((share, label.flatten(2).gather(2, flat).view_as(label)[:, 0]))
    return total, largest_share(corners)[:, None]


def _spline_basis(size: int, points: int, grid_vox: float) -> Tensor:
    """Cubic B-splines ``(P, G)``, the second point over the first voxel."""
    places = torch.arange(size, dtype=torch.float64)[:, None] / grid_vox + 1
    x = (places - torch.arange(points, dtype=torch.float64)).abs()
    inner, outer = 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6
    return torch.where(x < 1, inner, outer)
