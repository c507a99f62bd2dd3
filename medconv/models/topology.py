"""From the voxel spacing to strides and kernel sizes: pure arithmetic, no network.

Source: Isensee et al., "nnU-Net", Nature Methods 2021 (the rule for anisotropic data).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from medconv.blocks import coarser_spacing
from medconv.errors import ConfigError
from medconv.ndim import check_spatial_dims, to_tuple
from medconv.types import IntOrInts

MIN_STAGES, MAX_STAGES = 2, 10
MAX_KERNEL = 15
MAX_STRIDE = 8
NEAR = 2.0 * (1.0 - 1e-3)
"""Spacings within this ratio count as near; a little under 2, so that 2 itself stays far after rounding."""


@dataclass(frozen=True)
class Topology:
    """The grids of an encoder–decoder, finest first.

    Args:
        strides: Step to each stage from the one above; ones for the first.
        kernel_sizes: Taps per axis at each stage.
        spacings_mm: Voxel size at each stage.
    """

    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]
    spacings_mm: tuple[tuple[float, ...], ...]

    @property
    def divisor(self) -> tuple[int, ...]:
        """Number per axis that a size must be divisible by."""
        return tuple(prod(steps) for steps in zip(*self.strides, strict=True))


def plan_topology(
    spatial_dims: int,
    stages: int,
    spacing_mm: Sequence[float] | None = None,
    *,
    kernel_sizes: Sequence[IntOrInts] | None = None,
    strides: Sequence[IntOrInts] | None = None,
) -> Topology:
    """Strides and kernel sizes for a voxel spacing.

    An axis is pooled, by 2, while its spacing is within a factor of 2 of the finest. The kernel of an axis is
    1 until its spacing is within a factor of 2 of the finest, then 3 at that stage and all coarser ones.
    nnU-Net has two rules more that need a patch size or have no effect here: it stops at small maps, and its
    last kernel is 3.

    Args:
        spatial_dims: 2 or 3.
        stages: Number of resolutions, 2 to 10.
        spacing_mm: Voxel size of the image; ``None`` means isotropic.
        kernel_sizes: One entry a stage, instead of the rule.
        strides: One entry a stage, instead of the rule; the first is 1 (there is nothing above it).

    Raises:
        ConfigError: Numbers out of their range or lists of another length.

    Example:
        >>> topology = plan_topology(3, 3, (3.0, 1.0, 1.0))
        >>> topology.strides
        ((1, 1, 1), (1, 2, 2), (2, 2, 2))
        >>> topology.kernel_sizes
        ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    """
    check_spatial_dims(spatial_dims)
    if not MIN_STAGES <= stages <= MAX_STAGES:
        raise ConfigError(f"expected {MIN_STAGES} to {MAX_STAGES} stages (entries of channels), got {stages}")
    spacing = to_tuple(1.0 if spacing_mm is None else spacing_mm, spatial_dims, "spacing_mm")
    if not all(0 < h < float("inf") for h in spacing):
        raise ConfigError(f"expected positive spacing_mm, got {spacing}")
    given_strides = _given(strides, stages, spatial_dims, "strides", MAX_STRIDE)
    given_kernels = _given(kernel_sizes, stages, spatial_dims, "kernel_sizes", MAX_KERNEL)
    if given_strides is not None and max(given_strides[0]) > 1:
        raise ConfigError(
            f"expected stride 1 at the first stage, which has none above it, got {given_strides[0]}"
        )

    steps, kernels, spacings = [(1,) * spatial_dims], [_kernel(spacing)], [spacing]
    for i in range(1, stages):
        steps.append(
            given_strides[i] if given_strides else tuple(2 if near else 1 for near in _near(spacing))
        )
        spacing = coarser_spacing(spacing, steps[-1])
        spacings.append(spacing)
        kernels.append(tuple(map(max, kernels[-1], _kernel(spacing))))
    return Topology(tuple(steps), given_kernels or tuple(kernels), tuple(spacings))


def _near(spacing: Sequence[float]) -> list[bool]:
    """For each axis, whether its spacing is within a factor of 2 of the finest."""
    return [h < NEAR * min(spacing) for h in spacing]


def _kernel(spacing: Sequence[float]) -> tuple[int, ...]:
    return tuple(3 if near else 1 for near in _near(spacing))


def _given(
    values: Sequence[IntOrInts] | None, stages: int, spatial_dims: int, name: str, largest: int
) -> tuple[tuple[int, ...], ...] | None:
    if values is None:
        return None
    if len(values) != stages:
        raise ConfigError(
            f"expected {name} with one entry a stage, {stages}, got {len(values)}: {list(values)}"
        )
    rows = tuple(to_tuple(value, spatial_dims, f"{name}[{i}]") for i, value in enumerate(values))
    if not all(1 <= entry <= largest for row in rows for entry in row):
        raise ConfigError(f"expected {name} from 1 to {largest}, got {list(values)}")
    return rows
