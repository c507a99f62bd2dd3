"""What the examination feeds an operator with, and the slow, plain oracle it compares with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medconv.ndim import to_tuple
from medconv.ops.base import ConvFactory, ConvOp
from medconv.types import IntOrInts

_NOISE = 0.3
"""Added to all parameters, so that no law is tested only at the special point of initialisation."""


class NotApplicableError(Exception):
    """A law says nothing about this operator; the text says why."""


def require(condition: bool, text: str) -> None:
    """Raise ``AssertionError`` with this text unless the condition holds; unlike assert, also under -O."""
    if not condition:
        raise AssertionError(text)


@dataclass(frozen=True)
class Probe:
    """One operator in one geometry.

    Args:
        factory: Builds the operator.
        spatial_dims: 2 or 3.
        label: What is special about this geometry.
        kernel_size: Taps per axis.
        stride: Step per axis.
        dilation: Distance between taps per axis.
        groups: Channel groups.
        bias: Whether the operator has one.
        spacing_mm: Voxel edges; ``None``: isotropic.
        device: Where the laws are tried.
    """

    factory: ConvFactory
    spatial_dims: int
    label: str = "plain geometry"
    kernel_size: IntOrInts = 3
    stride: IntOrInts = 1
    dilation: IntOrInts = 1
    groups: int = 1
    bias: bool = True
    spacing_mm: tuple[float, ...] | None = None
    device: str = "cpu"

    in_channels = 4
    out_channels = 8

    def geometry(self) -> dict[str, Any]:
        """The arguments that a block gives to its operator."""
        names = ("spatial_dims", "in_channels", "out_channels", "kernel_size", "stride", "dilation")
        return {name: getattr(self, name) for name in (*names, "groups", "bias", "spacing_mm")}

    def build(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> ConvOp:
        """The operator with random parameters, in evaluation mode."""
        op = self.place(self.factory(**self.geometry()), dtype)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in op.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                parameter.add_(_NOISE * noise.to(parameter))
        return op

    def place(self, op: ConvOp, dtype: torch.dtype = torch.float64) -> ConvOp:
        """``op`` on the device, in ``dtype`` and in evaluation mode."""
        require(isinstance(op, ConvOp), f"expected the factory to build a ConvOp, got {type(op).__name__}")
        return op.to(self.device, dtype).eval()

    def feed(
        self, op: ConvOp, size: tuple[int, ...], batch: int = 2, dtype: torch.dtype = torch.float64
    ) -> tuple[Tensor, ...]:
        """Random arguments for ``forward``: the input, and a guide where the operator wants one."""
        generator = torch.Generator().manual_seed(sum(size) + batch)
        x = torch.randn(batch, op.in_channels, *size, generator=generator, dtype=torch.float64)
        guide = 2 * torch.rand(batch, op.guide_channels, *size, generator=generator, dtype=torch.float64)
        inputs = (x, guide) if op.needs_guide else (x,)
        return tuple(value.to(self.device, dtype) for value in inputs)

    @property
    def size(self) -> tuple[int, ...]:
        """A spatial shape with unequal axes, even and odd."""
        return (7, 6, 5)[: self.spatial_dims]

    def __str__(self) -> str:
        return f"{self.spatial_dims}-D, {self.label}"


def probes(factory: ConvFactory, spatial_dims: int, device: str) -> list[Probe]:
    """The geometries of the examination; the first must be supported, the others may be refused."""
    plain = Probe(factory, spatial_dims, device=device)
    thick = (3.0, 1.0, 1.0)[:spatial_dims]
    return [
        plain,
        replace(plain, label="no bias", bias=False),
        replace(plain, label="stride 2", stride=2),
        replace(plain, label="dilation 2", dilation=2),
        replace(plain, label="2 groups", groups=2),
        replace(plain, label="depthwise", groups=plain.in_channels),
        replace(plain, label="kernel 1", kernel_size=1),
        replace(plain, label="kernel 5", kernel_size=5),
        replace(plain, label="thick slices", spacing_mm=thick),
        replace(plain, label="flat kernel", spacing_mm=thick, kernel_size=(1, 3, 3)[:spatial_dims]),
        replace(plain, label="flat stride", spacing_mm=thick, stride=(1, 2, 2)[:spatial_dims]),
    ]


def naive_convolution(op: ConvOp, x: Tensor, weight: Tensor) -> Tensor:
    """The definition of convolution, tap by tap, with the geometry and bias of ``op``."""
    dims = op.spatial_dims
    padded = F.pad(x, [p for p in reversed(op.padding) for _ in range(2)])
    size = naive_size(op, tuple(x.shape[2:]))
    result = x.new_zeros(x.shape[0], op.out_channels, *size)
    for number, tap in enumerate(product(*(range(k) for k in op.kernel_size))):
        window = padded
        for axis, start in enumerate(tap):
            r, s, n = op.dilation[axis], op.stride[axis], size[axis]
            places = torch.arange(n, device=x.device) * s + r * start
            window = window.index_select(2 + axis, places)
        inputs = window.unflatten(1, (op.groups, -1))
        kernel = weight.flatten(2)[:, :, number].unflatten(0, (op.groups, -1))
        result += torch.einsum("goi,bgi...->bgo...", kernel, inputs).flatten(1, 2)
    bias = op.dense_bias()
    return result if bias is None else result + bias.view(-1, *[1] * dims)


def naive_size(op: ConvOp, size: tuple[int, ...]) -> tuple[int, ...]:
    """Spatial output shape, counted by walking the window over each axis."""
    geometry = zip(size, op.kernel_size, op.stride, op.dilation, op.padding, strict=True)
    return tuple(len(range(0, n + 2 * p - r * (k - 1), s)) for n, k, s, r, p in geometry)


def symmetric_size(op: ConvOp, smallest: int = 5) -> tuple[int, ...]:
    """Equal axes on which the stride leaves nothing over, so that a symmetry can be exact."""
    geometry = list(zip(op.kernel_size, op.stride, op.dilation, op.padding, strict=True))
    for n in range(smallest, smallest + 100):
        if all((n + 2 * p - r * (k - 1) - 1) % s == 0 for k, s, r, p in geometry):
            return to_tuple(n, op.spatial_dims)
    raise NotApplicableError("the stride leaves voxels over at every size, so no symmetry can be exact")
