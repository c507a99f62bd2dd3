"""Separable convolution: first look around in each channel alone, then mix the channels.

Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", CVPR 2017.
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


class SeparableConv(ConvOp):
    r"""Depthwise convolution, ``multiplier`` kernels a channel, then a 1×1 mixture of all of them.

    .. math:: W[o, i, \delta] = \sum_{m=1}^{M} P[o, i, m] \; D[i, m, \delta]

    Its prior: where to look is a property of the input channel, and only the mixture differs between
    outputs. No norm or nonlinearity stands between the two steps (Xception found it better without), so it
    is one linear operator with a kernel of rank ``M``; with ``M`` as large as the kernel has taps it can be
    any kernel.

    Use it where parameters or multiply-adds are scarce: 3-D, wide stages, deployment on a CPU. Do not expect
    the saved multiply-adds to be saved time: depthwise 3-D convolutions are often no faster on a GPU than
    dense ones, and slower backwards.

    Args:
        multiplier: Kernels ``M`` for each input channel.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))`` for odd kernels.

    Raises:
        ConfigError: ``multiplier`` below 1.

    Cost:
        ``M in_channels (prod(kernel_size) + out_channels / groups)`` multiply-adds an output voxel. ``fold``
        gives the dense convolution, which costs more; ``medconv.fold`` therefore leaves it as it is.

    Example:
        >>> conv = SeparableConv(3, 16, 32, multiplier=2)
        >>> sum(p.numel() for p in conv.parameters()), conv.macs((1, 1, 1))
        (1920, 1888)
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
        multiplier: int = 1,
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
        if multiplier < 1:
            raise ConfigError(f"expected a multiplier of at least 1 kernel a channel, got {multiplier}")
        self.multiplier = multiplier
        ones = (1,) * spatial_dims
        mixed = in_channels // groups * multiplier
        self.depth_weight = nn.Parameter(torch.empty(in_channels * multiplier, 1, *self.kernel_size))
        self.point_weight = nn.Parameter(torch.empty(out_channels, mixed, *ones))
        nn.init.normal_(self.depth_weight, std=prod(self.kernel_size) ** -0.5)
        nn.init.normal_(self.point_weight, std=LEAKY_RELU_GAIN / mixed**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve each channel of ``x``, then mix."""
        self.check_input(x)
        convolution = CONV[self.spatial_dims]
        seen = convolution(
            x, self.depth_weight, None, self.stride, self.padding, self.dilation, self.in_channels
        )
        return convolution(seen, self.point_weight, self.bias, groups=self.groups)

    def dense_weight(self) -> Tensor:
        """The kernel of rank ``multiplier``."""
        shape = (self.groups, -1, self.in_channels // self.groups, self.multiplier)
        point = self.point_weight.reshape(*shape, *[1] * self.spatial_dims)
        depth = self.depth_weight.reshape(self.groups, 1, *shape[2:], *self.kernel_size)
        return (point * depth).sum(dim=3).reshape(self.weight_shape)

    @property
    def is_worth_folding(self) -> bool:
        """False: the dense convolution costs more."""
        return False

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds of both steps."""
        outputs = prod(self.output_shape(input_shape))
        return outputs * (self.depth_weight.numel() + self.point_weight.numel())

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, multiplier={self.multiplier}"
