"""A coarser spacing for cases of which a patch sees too little.

Source: Isensee et al., "nnU-Net", Nature Methods 2021; the numbers are those of its version 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from medconv.planning.sizes import Sizes

ENOUGH = 0.25
"""Share of the median case that a patch should see."""

_STEP = 1.03
_WORTH_IT = 2.0

Fit = Callable[[tuple[int, ...], tuple[float, ...]], Sizes]


def coverage(sizes: Sizes, median_shape: Sequence[int]) -> float:
    """Share of the median case's voxels that a patch has."""
    return prod(sizes.patch_size) / prod(median_shape)


def lower_resolution(
    median_shape: Sequence[int], spacing_mm: Sequence[float], full: Sizes, fit: Fit
) -> tuple[float, ...] | None:
    """The finest spacing at which a patch sees a quarter of the median case.

    The spacing grows by 3 % at a time, first along the axes that are more than 2 times finer than the coarsest.

    Args:
        median_shape: ``*S`` of the median case at ``spacing_mm``.
        spacing_mm: The full resolution.
        full: What fits there.
        fit: What fits at another shape and spacing.

    Returns:
        ``None`` where a patch sees enough already, or where not even half of the voxels would be saved.
    """
    sizes, spacing, shape = full, [float(mm) for mm in spacing_mm], tuple(map(int, median_shape))
    while prod(sizes.patch_size) < ENOUGH * prod(shape):
        coarsest = max(spacing)
        fine = [coarsest / mm > 2 for mm in spacing]
        spacing = [mm * _STEP if f or not any(fine) else mm for mm, f in zip(spacing, fine, strict=True)]
        shape = tuple(
            max(1, round(s * full_mm / mm))
            for s, full_mm, mm in zip(median_shape, spacing_mm, spacing, strict=True)
        )
        sizes = fit(shape, tuple(spacing))
    if sizes is full or prod(median_shape) / prod(shape) < _WORTH_IT:
        return None
    return tuple(round(mm, 6) for mm in spacing)
