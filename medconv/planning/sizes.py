"""Patch and batch: as much of a case as the memory holds, at least two patches at a time.

Source: Isensee et al., "nnU-Net", Nature Methods 2021; the numbers are those of its version 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from medconv.errors import ConfigError
from medconv.planning.footprint import MAX_SHARE
from medconv.planning.stages import StagePlan, plan_stages

_INITIAL_VOXELS = {2: 2048**2, 3: 256**3}
MIN_BATCH = 2


@dataclass(frozen=True)
class Cost:
    """What a training step takes, in map voxels or in bytes.

    Args:
        fixed: Whatever the batch, such as the weights.
        per_patch: Of each patch.
        is_memory: Bytes, which must not be exceeded; a stand-in is rounded to the nearest batch, as nnU-Net does.
    """

    fixed: float
    per_patch: float
    is_memory: bool = False

    def of(self, batch_size: int) -> float:
        """Of a step with this batch."""
        return self.fixed + batch_size * self.per_patch

    def largest_batch(self, capacity: float) -> int:
        """Patches that a capacity holds."""
        patches = (capacity - self.fixed) / self.per_patch
        return max(0, int(patches) if self.is_memory else round(patches))


CostOf = Callable[[tuple[int, ...], StagePlan], Cost]


@dataclass(frozen=True)
class Sizes:
    """What fits.

    Args:
        patch_size: Voxels of a patch.
        stages: Strides and kernels for it.
        batch_size: Patches in a step.
        cost: Of a step.
        initial_patch: Before it was shortened to fit.
        roomy_batch: Patches that the capacity holds.
        capped_batch: Patches that the share of the dataset allows; ``None``: no limit was asked for.
    """

    patch_size: tuple[int, ...]
    stages: StagePlan
    batch_size: int
    cost: Cost
    initial_patch: tuple[int, ...]
    roomy_batch: int
    capped_batch: int | None


def fit_sizes(
    median_shape: Sequence[int],
    spacing_mm: Sequence[float],
    cost_of: CostOf,
    capacity: float,
    *,
    dataset_voxels: float,
    patch_size: Sequence[int] | None = None,
    batch_size: int | None = None,
    max_share: float | None = MAX_SHARE,
) -> Sizes:
    """Choose patch, stages and batch so that a training step stays within a capacity.

    Starts from a cube in mm of 256³ voxels (2048² in 2-D), cuts it to the median shape, rounds up to what the
    halvings need, and shortens the axis that covers most of the median shape until two patches fit. The batch
    takes what is left, but at most ``max_share`` of the dataset, and never less than two patches.

    Args:
        median_shape: ``*S`` of the median case at ``spacing_mm``.
        spacing_mm: Voxel edge lengths at which the network works.
        cost_of: What a step costs with a patch and its stages.
        capacity: In the same unit.
        dataset_voxels: All cases together, at ``spacing_mm``.
        patch_size: Kept where given.
        batch_size: Kept where given; the patch is then shortened until so many fit.
        max_share: Largest share of the dataset's voxels in one batch; ``None``: no limit.

    Raises:
        ConfigError: Not even the smallest patch fits, or not what was given.

    Example:
        >>> from medconv.planning.footprint import PLAIN, count_map_voxels
        >>> def cost_of(patch, stages):
        ...     return Cost(0, count_map_voxels(patch, stages, 3))
        >>> sizes = fit_sizes((36, 50, 35), (1, 1, 1), cost_of, PLAIN.capacity(3), dataset_voxels=36 * 50 * 35 * 260)
        >>> sizes.patch_size, sizes.batch_size, len(sizes.stages)
        ((40, 56, 40), 9, 4)
    """
    start = tuple(patch_size) if patch_size else initial_patch(median_shape, spacing_mm)
    stages = plan_stages(start, spacing_mm)
    patch = start = start if patch_size else pad_to(start, stages.divisor)
    cost, wanted = cost_of(patch, stages), batch_size or MIN_BATCH
    while not patch_size and cost.of(wanted) > capacity:
        patch = _shorten(patch, stages, median_shape, spacing_mm)
        stages = plan_stages(patch, spacing_mm)
        cost = cost_of(patch, stages)
    roomy = cost.largest_batch(capacity)
    if patch_size and roomy < (batch_size or 1):
        raise ConfigError(
            f"expected room for {batch_size or 1} patch(es) of {list(patch)}, the memory holds {roomy}; give a "
            "smaller patch_size or batch_size, or more memory"
        )
    share = None if max_share is None else max(1, round(dataset_voxels * max_share / prod(patch)))
    least = min(MIN_BATCH, roomy) if patch_size else MIN_BATCH
    batch = batch_size or max(min(roomy, share or roomy), least)
    return Sizes(patch, stages, batch, cost, start, roomy, share)


def initial_patch(median_shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """A cube in mm of 256³ voxels (a square of 2048² in 2-D), cut to the median shape.

    Example:
        >>> initial_patch((482, 512, 512), (1.0, 0.77, 0.77)), initial_patch((36, 50, 35), (1.0, 1.0, 1.0))
        ((215, 279, 279), (36, 50, 35))
    """
    dims = len(median_shape)
    scale = (_INITIAL_VOXELS[dims] * prod(spacing_mm)) ** (1 / dims)
    return tuple(
        max(1, min(round(scale / mm), int(size))) for mm, size in zip(spacing_mm, median_shape, strict=True)
    )


def pad_to(size: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """The next larger size that is divisible."""
    return tuple(-(-s // d) * d for s, d in zip(size, divisor, strict=True))


def _shorten(
    patch: tuple[int, ...], stages: StagePlan, median_shape: Sequence[int], spacing_mm: Sequence[float]
) -> tuple[int, ...]:
    """The next smaller patch: shorter along the axis that covers most of the median shape.

    The step is what the *shorter* patch must be divisible by: from 256, which must be divisible by 64, to 224.
    """
    shares = [p / m if p > d else 0 for p, m, d in zip(patch, median_shape, stages.divisor, strict=True)]
    if not any(shares):
        raise ConfigError(
            f"expected room for patches of at least {list(patch)} voxels, got too little memory; give more, "
            "or a network with fewer channels or cheaper operators"
        )
    # of equal ones the last
    axis = max(range(len(patch)), key=lambda i: (shares[i], i))
    trial = list(patch)
    trial[axis] -= stages.divisor[axis]
    step = plan_stages(trial, spacing_mm).divisor[axis]
    shorter = list(patch)
    shorter[axis] -= step
    return pad_to(shorter, plan_stages(shorter, spacing_mm).divisor)
