"""The plain convolution: the yardstick of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medconv.ops.base import ConvOp
from medconv.types import IntOrInts

LEAKY_RELU_SLOPE = 0.01
"""Slope for negative inputs of the activation that the initial weights are scaled for."""


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
        nn.init.kaiming_normal_(self.weight, a=LEAKY_RELU_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` with the weight."""
        return self.convolve(x, self.weight)

    def dense_weight(self) -> Tensor:
        """The weight itself."""
        return self.weight
