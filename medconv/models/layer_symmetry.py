"""Which rotations and reflections one layer commutes with, at one input size, and why not with more.

Along an axis that is reversed, the windows of a layer must end as far from the border as they start: the rest
``(N + 2p - r(k - 1) - 1) mod s`` has to be 0. Axes that are exchanged need the same kernel, stride, dilation
and padding, and the same answer to the first question. Their sizes may differ: the turned input has another
shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

from torch import Tensor, nn

from medconv.attention import Attention, SkipAttention
from medconv.blocks import Downsample, PoolFields, Upsample
from medconv.errors import ConfigError
from medconv.models.edge_guide import EdgeGuide
from medconv.models.padding import PadToDivisor
from medconv.ndim import to_tuple
from medconv.ops import ConvOp, Element, SymmetryGroup, act, admissible, full_group, group_of

ALIKE = 1e-6
"""Relative difference up to which two weights of a plain kernel count as equal."""

POINTWISE = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SiLU,
    nn.GELU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Dropout,
    nn.Dropout2d,
    nn.Dropout3d,
    PoolFields,
)
"""Layers that treat every voxel alike."""

GLOBAL = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)
"""Layers whose statistics run over all voxels."""


@dataclass(frozen=True)
class Held:
    """The symmetry that a layer has, and what keeps it from having more.

    Args:
        group: The elements with which the layer commutes.
        reason: Empty where ``group`` is the full group.
    """

    group: SymmetryGroup
    reason: str = ""


@dataclass(frozen=True)
class Grid:
    """How the windows of a layer lie on an axis-aligned grid; one entry an axis.

    Args:
        size: Voxels.
        kernel: Taps.
        stride: Step.
        padding: Voxels on either side.
        dilation: Distance between taps.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def leftover(self, axis: int) -> int:
        """Voxels behind the last window that no window covers."""
        n, k, s, p, r = (v[axis] for v in (self.size, self.kernel, self.stride, self.padding, self.dilation))
        return (n + 2 * p - r * (k - 1) - 1) % s

    def along(self, axis: int) -> tuple[int, ...]:
        """Everything but the size along one axis."""
        return self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]


@singledispatch
def symmetry_of(layer: nn.Module, size: tuple[int, ...]) -> Held:
    """The symmetry of ``layer`` for an input of spatial shape ``size``.

    Args:
        layer: Any layer; of an unknown kind, it counts as having no symmetry.
        size: ``*S`` of its input.
    """
    full = full_group(len(size))
    if isinstance(layer, POINTWISE + GLOBAL):
        return Held(full)
    return Held(_only(full, lambda _: False), f"{type(layer).__name__} is not known to have a symmetry")


@symmetry_of.register
def _(layer: ConvOp, size: tuple[int, ...]) -> Held:
    declared, weight = layer.symmetry(), layer.dense_weight()
    if weight is not None:
        held = _by_weight(weight, len(size), declared)
    else:
        held = Held(declared or _only(full_group(len(size)), lambda _: False))
    why = f"is built for {declared.name}" if declared else "has free weights"
    held = Held(held.group, f"{type(layer).__name__} {why}")
    return _on_grid(held, Grid(size, layer.kernel_size, layer.stride, layer.padding, layer.dilation))


@symmetry_of.register(Attention)
@symmetry_of.register(SkipAttention)
def _(layer: Any, size: tuple[int, ...]) -> Held:
    full, declared = full_group(len(size)), layer.symmetry()
    if declared == full:
        return Held(full)
    return Held(
        declared or _only(full, lambda _: False), f"{type(layer).__name__} treats directions differently"
    )


@symmetry_of.register(nn.Conv2d)
@symmetry_of.register(nn.Conv3d)
def _(layer: Any, size: tuple[int, ...]) -> Held:
    grid = Grid(size, layer.kernel_size, layer.stride, _padding(layer), layer.dilation)
    return _on_grid(_by_weight(layer.weight, len(size)), grid)


@symmetry_of.register(nn.ConvTranspose2d)
@symmetry_of.register(nn.ConvTranspose3d)
def _(layer: Any, size: tuple[int, ...]) -> Held:
    held = _by_weight(layer.weight, len(size))
    geometry = zip(layer.stride, layer.padding, layer.dilation, layer.output_padding, strict=True)
    kept = _aligned(held.group, list(geometry), layer.output_padding)
    return (
        held
        if kept == held.group
        else Held(kept, "its transposed stride treats the axes or their ends differently")
    )


@symmetry_of.register(nn.MaxPool2d)
@symmetry_of.register(nn.MaxPool3d)
@symmetry_of.register(nn.AvgPool2d)
@symmetry_of.register(nn.AvgPool3d)
def _(layer: Any, size: tuple[int, ...]) -> Held:
    dims = len(size)
    kernel, stride, padding, dilation = (
        to_tuple(v, dims)
        for v in (layer.kernel_size, layer.stride, layer.padding, getattr(layer, "dilation", 1))
    )
    return _on_grid(Held(full_group(dims)), Grid(size, kernel, stride, padding, dilation))


@symmetry_of.register
def _(layer: Downsample, size: tuple[int, ...]) -> Held:
    ones = (1,) * len(size)
    return _on_grid(
        Held(full_group(len(size))), Grid(size, layer.stride, layer.stride, (0,) * len(size), ones)
    )


@symmetry_of.register
def _(layer: Upsample, size: tuple[int, ...]) -> Held:
    # interpolation has nothing of its own along an axis: the sizes of the skip decide
    return Held(full_group(len(size))) if layer.kind != "transpose" else symmetry_of(layer.conv, size)


@symmetry_of.register
def _(layer: PadToDivisor, size: tuple[int, ...]) -> Held:
    margins, full = layer.margins(size), full_group(len(size))
    uneven = [before != behind for before, behind in margins]
    kept = _aligned(full, list(zip(layer.divisor, uneven, strict=True)), uneven)
    if any(uneven):
        axis = uneven.index(True)
        before, behind = margins[axis]
        return Held(
            kept, f"size {size[axis]} of axis {axis} is padded by {before} before and {behind} behind"
        )
    return Held(kept, "" if kept == full else f"axes are padded to multiples of {layer.divisor}")


@symmetry_of.register
def _(layer: EdgeGuide, size: tuple[int, ...]) -> Held:
    full = full_group(len(size))
    kept = admissible(full, layer.spacing_mm)
    return Held(
        kept, "" if kept == full else f"gradients per mm differ between axes of {layer.spacing_mm} mm"
    )


def _on_grid(held: Held, grid: Grid) -> Held:
    """What is left of a symmetry when the windows lie on this grid."""
    axes = range(len(grid.size))
    over = [grid.leftover(axis) for axis in axes]
    rows = [(*grid.along(axis), bool(over[axis])) for axis in axes]
    kept = _aligned(held.group, rows, over)
    if kept == held.group:
        return held if kept != full_group(len(grid.size)) else Held(kept)
    if not any(over):
        return Held(kept, f"kernel {grid.kernel} and stride {grid.stride} differ between axes")
    axis = next(a for a in axes if over[a])
    reason = (
        f"stride {grid.stride[axis]} leaves {over[axis]} voxel over at size {grid.size[axis]} of axis {axis}"
    )
    return Held(kept, reason)


def _by_weight(weight: Tensor, dims: int, known: SymmetryGroup | None = None) -> Held:
    """The symmetry that the values of a plain kernel have, as a folded operator's do; ``known`` is part of it."""
    weight, full = weight.detach(), full_group(dims)
    limit = ALIKE * float(weight.abs().max())

    def equal(w: Tensor, g: Element) -> bool:
        turned = act(w, g)
        return turned.shape == w.shape and bool((turned - w).abs().max() <= limit)

    def unchanged(g: Element) -> bool:
        # one kernel of many is enough to say no
        return (known is not None and g in known.elements) or (equal(weight[:1, :1], g) and equal(weight, g))

    try:
        kept = _only(full, unchanged)
    except ConfigError:  # so near the limit that equal to equal is not equal
        kept = known or _only(full, lambda _: False)
    return Held(kept, "" if kept == full else f"its kernel {tuple(weight.shape[2:])} has free weights")


def _only(group: SymmetryGroup, keep: Callable[[Element], bool]) -> SymmetryGroup:
    """The elements to keep, and the identity in any case."""
    return group_of(frozenset(g for g in group.elements if keep(g) or _is_identity(g)))


def _aligned(group: SymmetryGroup, rows: Sequence[tuple[Any, ...]], uneven: Sequence[int]) -> SymmetryGroup:
    """The elements that exchange only axes with equal ``rows`` and reverse none that is ``uneven``."""

    def keep(g: Element) -> bool:
        sources = [next(j for j, value in enumerate(row) if value) for row in g]
        reverses = (j for j, row in zip(sources, g, strict=True) if row[j] < 0)
        return all(rows[i] == rows[j] for i, j in enumerate(sources)) and not any(uneven[j] for j in reverses)

    return _only(group, keep)


def _is_identity(g: Element) -> bool:
    return all(row[i] == 1 for i, row in enumerate(g))


def _padding(layer: nn.Conv2d | nn.Conv3d) -> tuple[int, ...]:
    if isinstance(layer.padding, str):
        taps = zip(layer.kernel_size, layer.dilation, strict=True)
        return tuple(r * (k - 1) // 2 if layer.padding == "same" else 0 for k, r in taps)
    return tuple(layer.padding)
