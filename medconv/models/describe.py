"""A network as a table: what each layer is, what it costs, and which symmetry it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import and_
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medconv.attention import Attention, SkipAttention
from medconv.blocks import Downsample, Upsample
from medconv.errors import ShapeError
from medconv.lengths import edges_text
from medconv.models.base import SegmentationModel
from medconv.models.edge_guide import EdgeGuide
from medconv.models.layer_symmetry import POINTWISE, Held, symmetry_of
from medconv.models.padding import PadToDivisor
from medconv.models.shadow import shadow_of
from medconv.ndim import to_tuple
from medconv.ops import ConvOp, SymmetryGroup, admissible, full_group, named_group

LAYERS = (ConvOp, Attention, SkipAttention, Downsample, Upsample, PadToDivisor, EdgeGuide)
"""Modules that are one row each, whatever they consist of."""


@dataclass(frozen=True)
class Row:
    """One layer.

    Args:
        name: Its place in the network.
        operator: Its class and geometry.
        input_shape: ``(C, *S)``.
        output_shape: ``(C, *S)``.
        parameters: Numbers that are trained.
        macs: Multiply-adds for one image.
        foldable: Whether ``fold`` makes it a plain convolution; ``None``: it is no operator.
        symmetry: The rotations and reflections that it commutes with at this size.
        reason: What keeps it from the full group; empty where nothing does.
    """

    name: str
    operator: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    foldable: bool | None
    symmetry: SymmetryGroup
    reason: str


@dataclass(frozen=True)
class Description:
    """All layers in the order in which they run; ``str()`` is a table.

    Args:
        rows: The layers, without those that have no weights and treat all voxels alike.
    """

    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Numbers that are trained, in the whole network."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image."""
        return sum(row.macs for row in self.rows)

    @property
    def symmetry(self) -> SymmetryGroup:
        """What the whole network commutes with at this size: what all layers share."""
        return reduce(and_, (row.symmetry for row in self.rows))

    @property
    def breaker(self) -> Row | None:
        """The first layer that breaks the full group; ``None``: no layer does."""
        return next((row for row in self.rows if row.reason), None)

    def __str__(self) -> str:
        head = ("layer", "operator", "in", "out", "parameters", "multiply-adds", "folds", "symmetry")
        table = _table(head, [_cells(row) for row in self.rows], numbers=(4, 5))
        return "\n".join([*table, "", *self._summary()])

    def _summary(self) -> list[str]:
        symmetry, breaker = self.symmetry, self.breaker
        lines = [
            f"{self.parameters:,} parameters, {self.macs / 1e6:,.1f} million multiply-adds an image",
            f"symmetry {symmetry.name}: {symmetry.order} of {full_group(symmetry.spatial_dims).order} "
            "rotations and reflections",
        ]
        return lines + ([f"first broken by {breaker.name}: {breaker.reason}"] if breaker else [])


def describe(
    model: SegmentationModel, input_shape: Sequence[int], spacing_mm: Sequence[float] | None = None
) -> Description:
    """Follow an image through a network and note every layer; nothing is computed.

    What a module of somebody else's computes outside of its layers is not seen, and a layer of unknown kind
    counts as having no symmetry. Elements that exchange axes of unequal sizes are named only where that is no
    obstacle.

    Args:
        model: Described as in training, with the auxiliary heads.
        input_shape: Spatial shape ``*S`` of one image.
        spacing_mm: Voxel size of the image. Where given, only elements that keep it count: on unequal voxels
            the others are no rotations of the patient, whatever the network does.

    Raises:
        ShapeError: ``input_shape`` has another number of axes than the network.

    Example:
        >>> from medconv.models import UNet
        >>> description = describe(UNet(2, 1, 2, channels=(4, 8)), (32, 32))
        >>> description.symmetry.name, description.breaker.name
        ('C1', 'encoder.blocks.0.units.0.conv')
    """
    if len(input_shape) != model.spatial_dims:
        raise ShapeError(
            f"expected input_shape with {model.spatial_dims} entries, one a spatial axis, "
            f"got {tuple(input_shape)}"
        )
    rows = [] if spacing_mm is None else [_input_row(model, input_shape, spacing_mm)]
    shadow = shadow_of(model).train()
    dtype = next((p.dtype for p in model.parameters()), None)
    # a module that is held twice is one layer
    layers = {layer: name for name, layer in reversed(list(_layers(shadow)))}
    for layer, name in layers.items():
        note = partial(_note, rows=rows, name=name, real=model.get_submodule(name), dims=model.spatial_dims)
        layer.register_forward_hook(note)
    with torch.no_grad():
        shadow(torch.empty(1, model.in_channels, *input_shape, dtype=dtype, device="meta"))
    return Description(tuple(rows))


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What becomes a row: operators, and the innermost modules that are more than pointwise functions."""
    children = list(module.named_children())
    weights = list(module.parameters(recurse=False))
    if isinstance(module, LAYERS) or weights or (not children and not isinstance(module, POINTWISE)):
        yield name, module
        return
    for child_name, child in children:
        yield from _layers(child, f"{name}.{child_name}" if name else child_name)


def _note(
    layer: nn.Module,
    args: tuple[Any, ...],
    output: Any,
    *,
    rows: list[Row],
    name: str,
    real: nn.Module,
    dims: int,
) -> None:
    """Write the row of a layer that has just been passed."""
    before, after = args[0].shape, (output if isinstance(output, Tensor) else output[0]).shape
    held = symmetry_of(real, tuple(before[2:])) if len(before) == dims + 2 else _none(real, dims)
    rows.append(
        Row(
            name,
            _label(real),
            tuple(before[1:]),
            tuple(after[1:]),
            0 if any(row.name == name for row in rows) else sum(p.numel() for p in real.parameters()),
            real.macs(before[2:]) if isinstance(real, ConvOp) else _count_macs(layer, args),
            real.is_foldable if isinstance(real, ConvOp) else None,
            held.group,
            held.reason,
        )
    )


def _count_macs(layer: nn.Module, args: tuple[Any, ...]) -> int:
    if all(p.dim() < 2 for p in layer.parameters()):  # no matrix, no products to count
        return 0
    with FlopCounterMode(display=False) as counter:
        layer.forward(*args)
    return counter.get_total_flops() // 2


def _none(layer: nn.Module, dims: int) -> Held:
    return Held(named_group("C1", dims), f"{type(layer).__name__} works on no grid of voxels")


def _input_row(model: SegmentationModel, input_shape: Sequence[int], spacing_mm: Sequence[float]) -> Row:
    """The image as a layer: turning unequal voxels onto each other is no rotation of the patient."""
    spacing = to_tuple(spacing_mm, model.spatial_dims, "spacing_mm")
    full = full_group(model.spatial_dims)
    group, shape = admissible(full, spacing), (model.in_channels, *input_shape)
    reason = "" if group == full else f"voxels of {edges_text(spacing)} differ between axes"
    return Row("image", f"voxels {edges_text(spacing)}", shape, shape, 0, 0, None, group, reason)


def _label(layer: nn.Module) -> str:
    """Class, and where there are any, taps and step: ``StandardConv 1×3×3 / 1×2×2``."""
    text = type(layer).__name__
    kind = getattr(layer, "kind", None)
    text += f" {kind}" if isinstance(kind, str) else ""
    kernel, stride = getattr(layer, "kernel_size", None), getattr(layer, "stride", None)
    text += f" {_by(kernel)}" if isinstance(kernel, tuple) else ""
    return text + (f" / {_by(stride)}" if isinstance(stride, tuple) and max(stride) > 1 else "")


def _by(numbers: Sequence[float]) -> str:
    return "×".join(f"{n:g}" for n in numbers)


def _cells(row: Row) -> tuple[str, ...]:
    shapes = (_by(row.input_shape), _by(row.output_shape))
    folds = {True: "yes", False: "no", None: ""}[row.foldable]
    return (row.name, row.operator, *shapes, f"{row.parameters:,}", f"{row.macs:,}", folds, row.symmetry.name)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], numbers: tuple[int, ...]) -> list[str]:
    """Aligned lines: text to the left, the columns in ``numbers`` to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * w for w in widths), *rows]
    return [
        "  ".join(
            c.rjust(w) if i in numbers else c.ljust(w)
            for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
