"""Pure rules from a dataset's spacings and shapes to a decision.

Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021; the numbers are those of its version 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_ANISOTROPIC = 3.0


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
    return tuple(float(f"{mm:.7g}") for mm in target)  # of nanometres too


def median_shape(
    shapes: Sequence[Sequence[int]],
    spacings_mm: Sequence[Sequence[float]],
    target_mm: Sequence[float],
) -> tuple[int, ...]:
    """The median ``*S`` of the cases once they are resampled to ``target_mm``, halves rounded up."""
    resampled = np.round(np.asarray(shapes) * np.asarray(spacings_mm) / np.asarray(target_mm))
    return tuple(max(1, math.ceil(size)) for size in np.median(resampled, axis=0))
