"""The plain convolution: the yardstick of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medconv.ops.base import ConvOp
from medconv.ops.symmetry import SymmetryGroup, admissible, full_group
from medconv.types import IntOrInts

LEAKY_RELU_GAIN = nn.init.calculate_gain("leaky_relu", 0.01)
"""Factor by which initial weights make good what a leaky ReLU of slope 0.01 takes from the variance."""


class StandardConv(ConvOp):
    r"""Plain convolution with He's initial weights for leaky ReLU.

    .. math:: y[o, q] = b[o] + \sum_i \sum_\delta W[o, i, \delta] \; x[i, s q + r \delta - p]

    Use it first: every other operator has to beat it. Prefer ``SymmetricConv`` where orientation carries no
    meaning and cases are few.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Cost:
        ``prod(kernel_size) * in_channels / groups`` multiply-adds an output value.

    Example:
        >>> StandardConv(2, 1, 8, stride=2)(torch.zeros(1, 1, 9, 6)).shape
        torch.Size([1, 8, 5, 3])

    Source: He et al., "Delving Deep into Rectifiers", ICCV 2015 (initial weights).
    """

    neutral: ClassVar[dict[str, Any] | None] = {}

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
        self.weight = nn.Parameter(torch.empty(self.weight_shape))
        fan_in = prod(self.weight_shape[1:])
        nn.init.normal_(self.weight, std=LEAKY_RELU_GAIN / fan_in**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the weight."""
        return self.convolve(x, self.weight)

    def dense_weight(self) -> Tensor:
        """The weight itself."""
        return self.weight

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)


def pointwise_symmetry(op: ConvOp, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
    """The symmetry of an operator with free weights: none, but kernel 1 looks in no direction and keeps all.

    Args:
        op: Any operator without a direction of its own.
        spacing_mm: Ask for another voxel spacing than the one given at construction.
    """
    if max(op.kernel_size) > 1:
        return None
    return admissible(full_group(op.spatial_dims), spacing_mm or op.spacing_mm, stride=op.stride)
