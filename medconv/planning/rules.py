"""Pure rules from a dataset's numbers to a decision.

Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021; the numbers are those of its version 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from medconv.errors import ConfigError
from medconv.ndim import to_tuple
from medconv.types import IntOrInts

_ANISOTROPIC = 3.0
_INITIAL_VOXELS = {2: 2048**2, 3: 256**3}
_SMALLEST_FEATURE_MAP = 4


def median_spacing(
    spacings_mm: Sequence[Sequence[float]], shapes: Sequence[Sequence[int]]
) -> tuple[float, ...]:
    """The spacing to work at: the median along each axis, finer along a coarse axis with few slices.

    Where the coarsest axis is more than 3 times coarser than all others and also has 3 times fewer voxels,
    its median would blur the cases with thin slices, so the 10th percentile is taken (not below the others).

    Args:
        spacings_mm: One entry a case, axes in one common order.
        shapes: ``*S`` of each case, same order.

    Example:
        >>> median_spacing([(1.0, 1.0, 5.0), (1.0, 1.0, 5.0), (1.0, 1.0, 2.0)], [(200, 200, 20)] * 3)
        (1.0, 1.0, 2.6)
    """
    spacings, sizes = np.asarray(spacings_mm, float), np.median(np.asarray(shapes, float), axis=0)
    target = np.median(spacings, axis=0)
    worst = int(np.argmax(target))
    others = np.delete(np.arange(len(target)), worst)
    coarse = target[worst] > _ANISOTROPIC * target[others].max()
    few = sizes[worst] * _ANISOTROPIC < sizes[others].min()
    if coarse and few:
        target[worst] = max(np.percentile(spacings[:, worst], 10), target[others].max())
    return tuple(round(float(mm), 6) for mm in target)


def median_shape(
    shapes: Sequence[Sequence[int]],
    spacings_mm: Sequence[Sequence[float]],
    target_mm: Sequence[float],
) -> tuple[int, ...]:
    """The median ``*S`` of the cases once they are resampled to ``target_mm``, halves rounded up."""
    resampled = np.round(np.asarray(shapes) * np.asarray(spacings_mm) / np.asarray(target_mm))
    return tuple(max(1, math.ceil(size)) for size in np.median(resampled, axis=0))


def poolings_per_axis(shape: Sequence[int], spacing_mm: Sequence[float], poolings: int) -> tuple[int, ...]:
    """How often each axis is halved in a network with ``poolings`` halvings.

    An axis takes part while it has at least 8 voxels and is less than twice as coarse as the finest that
    does; a last axis on its own needs 12.

    Example:
        >>> poolings_per_axis((128, 128, 32), (1.0, 1.0, 3.0), 3)
        (3, 3, 2)
    """
    size, spacing = [float(s) for s in shape], list(spacing_mm)
    counts = [0] * len(size)
    for _ in range(poolings):
        large = [axis for axis, s in enumerate(size) if s >= 2 * _SMALLEST_FEATURE_MAP]
        finest = min((spacing[axis] for axis in large), default=0.0)
        taking_part = [axis for axis in large if spacing[axis] < 2 * finest]
        if not taking_part or (len(taking_part) == 1 and size[taking_part[0]] < 3 * _SMALLEST_FEATURE_MAP):
            break
        for axis in taking_part:
            counts[axis] += 1
            spacing[axis] *= 2
            size[axis] = math.ceil(size[axis] / 2)
    return tuple(counts)


def default_patch(
    median_shape: Sequence[int],
    spacing_mm: Sequence[float],
    poolings: IntOrInts = 3,
    max_voxels: int = 128**3,
) -> tuple[int, ...]:
    """The training patch: the median shape, no larger than the memory allows, divisible by the network.

    Starts from a cube in mm of 256³ voxels (2048² in 2-D), cuts it to the median shape, rounds up to what the
    poolings need, and then shortens the axis that covers most of the median shape until it fits.

    Args:
        median_shape: ``*S`` of the median case at ``spacing_mm``.
        spacing_mm: Voxel edge lengths at which the network works.
        poolings: Halvings of the network, or one number an axis.
        max_voxels: Largest number of voxels of a patch.

    Raises:
        ConfigError: Not even the smallest patch that the poolings allow has so few voxels.

    Example:
        >>> default_patch((36, 50, 35), (1.0, 1.0, 1.0), poolings=3)
        (40, 56, 40)
    """
    median, dims = np.asarray(median_shape, float), len(median_shape)
    if isinstance(poolings, int):
        poolings = poolings_per_axis(median_shape, spacing_mm, poolings)
    divisor = 2 ** np.asarray(to_tuple(poolings, dims, "poolings"))
    cube = 1 / np.asarray(spacing_mm, float)
    cube = np.round(cube * (_INITIAL_VOXELS[dims] / cube.prod()) ** (1 / dims))
    patch = np.maximum(np.ceil(np.minimum(cube, median) / divisor), 1).astype(int) * divisor
    if divisor.prod() > max_voxels:
        raise ConfigError(
            f"expected room for at least {divisor.tolist()} voxels, got max_voxels={max_voxels}; use "
            f"fewer poolings"
        )
    while patch.prod() > max_voxels:
        share = np.where(patch > divisor, patch / median, -np.inf)
        axis = int(np.argmax(share))
        patch[axis] -= divisor[axis]
    return tuple(int(size) for size in patch)


def normalization_for(channel_name: str) -> str:
    """How a channel is scaled, judged by its name: CT by absolute values, everything else by itself.

    Example:
        >>> normalization_for("CT"), normalization_for("T1w MRI"), normalization_for("noNorm")
        ('ct', 'zscore', 'none')
    """
    words = re.findall(r"[a-z]+", channel_name.lower())
    if "ct" in words:
        return "ct"
    return "none" if "nonorm" in words else "zscore"
