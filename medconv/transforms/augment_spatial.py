"""Changes of where things are: one affine sampling for rotation and scale together.

Pure functions of tensors and parameters: nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from medconv.types import FloatArray

_COARSE = 3.0
"""An axis this many times coarser than the finest is kept out of rotations: interpolation would invent it."""

_LONG = 1.5
"""A 2-D patch this many times longer than wide is turned a little only: most of it would leave the patch."""

_AT_ONCE = 2
"""Classes in one sampling: they share the work of finding neighbours, and memory stays small."""


def rotation_limits_deg(shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """Largest angle each way about each axis that suits a patch, by nnU-Net's rule.

    Args:
        shape: ``*S`` of the patch.
        spacing_mm: Voxel edge lengths.

    Shape:
        One angle in 2-D, three in 3-D (the axis of rotation is the array axis).

    Example:
        >>> rotation_limits_deg((64, 64, 64), (1, 1, 1)), rotation_limits_deg((20, 256, 256), (5, 1, 1))
        ((30.0, 30.0, 30.0), (180.0, 0.0, 0.0))

    Source:
        Isensee et al., nnU-Net, Nature Methods 2021.
    """
    if len(shape) == 2:
        return (180.0 if max(shape) <= _LONG * min(shape) else 15.0,)
    coarse = [s > _COARSE * min(spacing_mm) for s in spacing_mm]
    if not any(coarse):
        return (30.0,) * 3
    if sum(coarse) > 1:
        return (0.0,) * 3
    return tuple(180.0 if c else 0.0 for c in coarse)


def rotation_matrix(angles_deg: Sequence[float]) -> FloatArray:
    """Rotation by one angle in 2-D, or by three about the array axes 0, 1, 2 in turn (axis 2 first).

    Shape:
        Output ``(d, d)``, acting on vectors in array-axis order.

    Example:
        >>> rotation_matrix([90.0]).round(6) @ [1.0, 0.0]
        array([0., 1.])
    """
    if len(angles_deg) == 1:
        return _plane_rotation(2, 0, 1, angles_deg[0])
    a, b, c = angles_deg
    return _plane_rotation(3, 1, 2, a) @ _plane_rotation(3, 2, 0, b) @ _plane_rotation(3, 0, 1, c)


def sampling_matrix(
    rotation: FloatArray, scale: float, shape: Sequence[int], spacing_mm: Sequence[float]
) -> FloatArray:
    r"""The matrix that ``warp`` takes: a rotation and a zoom that are rigid in millimetres, not in voxels.

    .. math:: M = D^{-1} \, (s R) \, D, \qquad D = \mathrm{diag}(S_a \, \mathrm{spacing}_a / 2)

    Args:
        rotation: ``(d, d)``, in millimetres.
        scale: Size of the sampled field of view; above 1 makes structures smaller.
        shape: ``*S`` of the patch.
        spacing_mm: Voxel edge lengths.
    """
    extent_mm = np.asarray(shape, dtype=np.float64) * np.asarray(spacing_mm, dtype=np.float64) / 2
    return scale * rotation * extent_mm[None, :] / extent_mm[:, None]


def warp(
    image: Tensor, label: Tensor, matrix: Tensor, num_classes: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""Sample images and the shares of labels linearly through a linear map about the patch centre.

    .. math:: y(p) = x(M p), \qquad p \in [-1, 1]^d \text{ from the first voxel's edge to the last one's}

    A voxel gets the label with the largest share, as in nnU-Net. What lies outside the input is 0 in the
    image and background in the label.

    Args:
        image: Float images.
        label: Integer labels.
        matrix: From ``sampling_matrix``, array-axis order.
        num_classes: Labels are 0 to ``num_classes - 1``; ``None`` finds them, for which a device is waited.

    Shape:
        - ``image`` ``(N, C, *S)``, ``label`` ``(N, 1, *S)``, ``matrix`` ``(N, d, d)``.
        - Outputs have the shapes and dtypes of the inputs.

    Cost:
        One grid sampling for the image and one for every two classes but background (on the CPU, of those
        that occur), one after the other: memory for some float maps and the grid, however many classes.
    """
    grid = _sampling_grid(matrix, image.shape[2:])
    warped = grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # on the CPU only the classes that occur; a device would have to be waited for
    found = num_classes is None or label.device.type == "cpu"
    values = label.unique().tolist() if found else range(num_classes or 0)
    return warped, _warp_label(label, grid, [value for value in values if value != 0])


def _warp_label(label: Tensor, grid: Tensor, values: Sequence[int]) -> Tensor:
    moved = torch.zeros_like(label)
    largest = torch.zeros_like(label, dtype=grid.dtype)
    foreground = torch.zeros_like(largest)
    for start in range(0, len(values), _AT_ONCE):
        some = values[start : start + _AT_ONCE]
        here = torch.cat([label == value for value in some], dim=1).to(grid.dtype)
        shares = grid_sample(here, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        for value, share in zip(some, shares.split(1, dim=1), strict=True):
            moved.masked_fill_(share > largest, value)
            largest = torch.maximum(largest, share)
            foreground += share
    return moved.masked_fill_(largest <= 1 - foreground, 0)


def _plane_rotation(dims: int, i: int, j: int, angle_deg: float) -> FloatArray:
    matrix = np.eye(dims)
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


def _sampling_grid(matrix: Tensor, shape: Sequence[int]) -> Tensor:
    """``(N, *S, d)`` in grid_sample's order (last axis first).

    Summed axis by axis instead of ``affine_grid``: that one multiplies matrices, in TF32 where it is allowed,
    and three digits are not enough for a position.
    """
    d = len(shape)
    reversed_matrix = matrix.flip(1)
    grid: Tensor | None = None
    for axis, n in enumerate(shape):
        centres = (torch.arange(n, device=matrix.device, dtype=matrix.dtype) * 2 + 1) / n - 1
        along = centres.view(*(n if a == axis else 1 for a in range(d)), 1)
        term = along * reversed_matrix[:, :, axis].view(-1, *(1,) * d, d)
        grid = term if grid is None else grid + term
    assert grid is not None
    return grid
