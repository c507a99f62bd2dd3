"""Rotations and zooms as matrices; ``patch_sampling`` applies them.

Pure functions: nothing is drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin

import numpy as np

from medconv.types import FloatArray

_COARSE = 3.0
"""An axis this many times coarser than the finest is kept out of rotations: interpolation would invent it."""

_LONG = 1.5
"""A 2-D patch this many times longer than wide is turned a little only: most of it would leave the patch."""


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


def voxel_matrix(rotation: FloatArray, scale: float, spacing_mm: Sequence[float]) -> FloatArray:
    r"""The matrix that ``sample_patches`` takes: a rotation and a zoom that are rigid in millimetres, not in voxels.

    .. math:: A = H^{-1} \, (s R) \, H, \qquad H = \mathrm{diag}(\mathrm{spacing})

    Args:
        rotation: ``(d, d)``, in millimetres.
        scale: Size of the sampled field of view; above 1 makes structures smaller.
        spacing_mm: Voxel edge lengths.
    """
    edges = np.asarray(spacing_mm, dtype=np.float64)
    return scale * rotation * edges[None, :] / edges[:, None]


def _plane_rotation(dims: int, i: int, j: int, angle_deg: float) -> FloatArray:
    matrix = np.eye(dims)
    c, s = cos(radians(angle_deg)), sin(radians(angle_deg))
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix
