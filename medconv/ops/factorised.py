"""Factorised convolution, "2.5-D": first within the slice, then across the slices.

Source: Tran et al., "A Closer Look at Spatiotemporal Convolutions", CVPR 2018 (there: space, then time).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ndim import CONV
from medconv.ops.base import ConvOp
from medconv.ops.standard import LEAKY_RELU_GAIN, pointwise_symmetry
from medconv.ops.symmetry import SymmetryGroup
from medconv.types import IntOrInts


class FactorisedConv(ConvOp):
    r"""A kernel within the slice followed by one across the slices: ``1×k×k``, then ``k×1×1``.

    .. math:: W[o, i, (z, q)] = \sum_m A[o, m, z] \; F[m, i, q]

    Its prior: what is seen within a slice does not depend on how it is followed through the slices. No
    nonlinearity stands between, so it is one linear operator of limited rank. In 2-D: rows, then columns.

    Use it for 3-D images with slices somewhat thicker than the pixels, at the cost of a 2-D kernel and a
    line. Where slices are more than twice as thick, the network's own kernels are flat already.

    Args:
        axis: The axis across the slices; ``None``: the one with the longest voxel edge, else 0.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: No such axis.

    Cost:
        ``out_channels (in_channels k² + out_channels k) / groups`` multiply-adds an output voxel in 3-D
        (more within the slice where the step across is above 1). ``fold`` gives the dense convolution, which
        costs more; ``medconv.fold`` therefore leaves it as it is.

    Example:
        >>> conv = FactorisedConv(3, 4, 8, spacing_mm=(1.0, 1.0, 2.0))
        >>> tuple(conv.slice_weight.shape), tuple(conv.line_weight.shape)
        ((8, 4, 3, 3, 1), (8, 8, 1, 1, 3))
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        stride: IntOrInts = 1,
        dilation: IntOrInts = 1,
        groups: int = 1,
        bias: bool = True,
        spacing_mm: Sequence[float] | None = None,
        axis: int | None = None,
    ) -> None:
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
            spacing_mm=spacing_mm,
        )
        if axis is not None and axis not in range(spatial_dims):
            raise ConfigError(f"expected axis from 0 to {spatial_dims - 1}, got {axis}")
        self.axis = self.spacing_mm.index(max(self.spacing_mm)) if axis is None else axis
        within, across = self._within(self.kernel_size, 1), self._across(self.kernel_size, 1)
        self.slice_weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *within))
        self.line_weight = nn.Parameter(torch.empty(out_channels, out_channels // groups, *across))
        nn.init.normal_(self.slice_weight, std=prod(self.slice_weight.shape[1:]) ** -0.5)
        nn.init.normal_(self.line_weight, std=LEAKY_RELU_GAIN / prod(self.line_weight.shape[1:]) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` within the slices, then across them."""
        self.check_input(x)
        convolution = CONV[self.spatial_dims]
        for weight, bias, part in (
            (self.slice_weight, None, self._within),
            (self.line_weight, self.bias, self._across),
        ):
            geometry = part(self.stride, 1), part(self.padding, 0), part(self.dilation, 1)
            x = convolution(x, weight, bias, *geometry, self.groups)
        return x

    def dense_weight(self) -> Tensor:
        """The kernel that both steps equal together."""
        lines = self.line_weight.unflatten(0, (self.groups, -1)).unsqueeze(3)
        slices = self.slice_weight.unflatten(0, (self.groups, 1, -1))
        return (lines * slices).sum(dim=2).reshape(self.weight_shape)

    @property
    def is_worth_folding(self) -> bool:
        """False: the dense convolution costs more."""
        return False

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds of both steps."""
        output = self.output_shape(input_shape)
        between = [
            i if a == self.axis else o for a, (i, o) in enumerate(zip(input_shape, output, strict=True))
        ]
        return prod(between) * self.slice_weight.numel() + prod(output) * self.line_weight.numel()

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, axis={self.axis}"

    def _within(self, values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(other if a == self.axis else v for a, v in enumerate(values))

    def _across(self, values: tuple[int, ...], other: int) -> tuple[int, ...]:
        return tuple(v if a == self.axis else other for a, v in enumerate(values))
