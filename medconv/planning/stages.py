"""How often a patch is halved along each axis, and how large the kernels are on the way down.

Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image
segmentation", Nature Methods 2021; the numbers are those of its version 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

SMALLEST_EDGE = 4
"""Voxels that the coarsest map keeps along an axis that was halved."""

NEAR = 2.0 * (1.0 - 1e-3)
"""Spacings within this ratio count as near; a little under 2, so that 2 itself stays far after rounding."""

FIRST_CHANNELS = 32
MOST_CHANNELS = {2: 512, 3: 320}


@dataclass(frozen=True)
class StagePlan:
    """The grids of an encoder, finest first.

    Args:
        strides: Step to each stage from the one above; ones for the first.
        kernel_sizes: Taps per axis at each stage.
        channels: Of each stage; empty: doubled from 32 on, at most 320 in 3-D and 512 in 2-D.
    """

    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    channels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        most = MOST_CHANNELS[len(self.strides[0])]
        rule = tuple(min(FIRST_CHANNELS * 2**stage, most) for stage in range(len(self.strides)))
        object.__setattr__(self, "channels", self.channels or rule)

    def __len__(self) -> int:
        return len(self.strides)

    @property
    def divisor(self) -> tuple[int, ...]:
        """Number per axis that a patch must be divisible by."""
        return tuple(prod(steps) for steps in zip(*self.strides, strict=True))


def plan_stages(patch_size: Sequence[int], spacing_mm: Sequence[float]) -> StagePlan:
    """Halve a patch while it is large and fine enough.

    An axis is halved while it has at least 8 voxels and its spacing is within a factor of 2 of the finest of
    those that have; a last axis on its own needs 12. The kernel of an axis is 1 until its spacing is within a
    factor of 2 of the finest, then 3 for good; at the coarsest stage it is 3 along all axes. Where nothing can be
    halved there are two stages of one resolution, the fewest that make an encoder and a decoder.

    Args:
        patch_size: Voxels of a patch; need not be divisible.
        spacing_mm: Voxel edge lengths.

    Example:
        >>> plan_stages((40, 56, 40), (1.0, 1.0, 1.0)).strides
        ((1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
        >>> plan_stages((16, 128, 128), (4.0, 1.0, 1.0)).kernel_sizes[:3]
        ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    """
    size, spacing, axes = [float(s) for s in patch_size], list(map(float, spacing_mm)), range(len(patch_size))
    strides, kernels = [(1,) * len(size)], list[tuple[int, ...]]()
    kernel = [1] * len(size)
    while taking_part := _axes_to_halve(size, spacing):
        kernel = [3 if k == 3 or h < NEAR * min(spacing) else 1 for k, h in zip(kernel, spacing, strict=True)]
        kernels.append(tuple(kernel))
        steps = tuple(2 if axis in taking_part else 1 for axis in axes)
        strides.append(steps)
        size = [math.ceil(s / step) for s, step in zip(size, steps, strict=True)]
        spacing = [h * step for h, step in zip(spacing, steps, strict=True)]
    if len(strides) == 1:
        strides, kernels = [(1,) * len(size)] * 2, [(3,) * len(size)]
    return StagePlan(tuple(strides), (*kernels, (3,) * len(size)))


def _axes_to_halve(size: Sequence[float], spacing: Sequence[float]) -> list[int]:
    large = [axis for axis, voxels in enumerate(size) if voxels >= 2 * SMALLEST_EDGE]
    finest = min((spacing[axis] for axis in large), default=0.0)
    chosen = [axis for axis in large if spacing[axis] < NEAR * finest]
    alone = len(chosen) == 1 and size[chosen[0]] < 3 * SMALLEST_EDGE
    return [] if alone else chosen
