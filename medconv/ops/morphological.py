"""Morphological convolution: the largest or the smallest value around, instead of a weighted sum.

Source: Serra, "Image Analysis and Mathematical Morphology", 1982; learned structuring elements for the
hippocampus: "Hippo-Net", 2023 (arXiv 2306.08723).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import inf, prod
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ndim import CONV
from medconv.ops.base import ConvOp
from medconv.ops.standard import LEAKY_RELU_GAIN, pointwise_symmetry
from medconv.ops.symmetry import SymmetryGroup
from medconv.types import IntOrInts

Operation = Literal["dilation", "erosion", "opening", "closing"]


class MorphologicalConv(ConvOp):
    r"""Dilation, erosion, opening or closing of each channel by a learned element, then a 1×1 mixture.

    .. math:: \text{dil}(x)[q] = \max_\delta \big( x[q + \delta] + w[\delta] \big), \qquad
        \text{ero}(x)[q] = \min_\delta \big( x[q - \delta] - w[\delta] \big)

    With a ``softness`` ``τ > 0`` the maximum is ``τ log Σ exp(· / τ)``, at most ``τ log taps`` above it, and
    every tap has a gradient; with 0 it is the maximum itself, whose gradient goes to one tap. Outside the
    volume lies ``-∞`` for a maximum and ``+∞`` for a minimum, never 0. The mixture makes it trainable: stacks
    of morphology alone are hard to train.

    Use it where size and shape of bright or dark parts decide: openings remove what is smaller than the
    element, closings fill it. Not as the only operator of a network.

    Args:
        operation: ``"dilation"``, ``"erosion"``, ``"opening"`` (erosion, then dilation) or ``"closing"``.
        softness: ``τ`` at the start, in units of the input; 0: hard. A saved buffer, ``temperature``, which
            the callback ``TemperatureSchedule`` can lower (usual: from 0.1 to 0.01).

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: An unknown operation, a negative ``softness``, or an even kernel.

    Cost:
        ``prod(kernel_size)`` sums and comparisons an input channel and voxel (twice for openings and closings)
        and a 1×1 convolution; as many passes over memory. It equals no plain convolution.

    Example:
        >>> conv = MorphologicalConv(2, 1, 1, operation="dilation", softness=0.0, bias=False)
        >>> _ = torch.nn.init.zeros_(conv.element), torch.nn.init.ones_(conv.point_weight)
        >>> conv(torch.tensor([[[[0.0, 0.0, 0.0, 5.0]]]])).detach().flatten().tolist()
        [0.0, 0.0, 5.0, 5.0]
    """

    temperature: Tensor

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
        operation: Operation = "dilation",
        softness: float = 0.1,
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
        if operation not in get_args(Operation):
            raise ConfigError(
                f"expected operation 'dilation', 'erosion', 'opening' or 'closing', got {operation!r}"
            )
        if not softness >= 0:
            raise ConfigError(f"expected a softness of at least 0, got {softness}")
        if any(k % 2 == 0 for k in self.kernel_size):
            raise ConfigError(f"expected odd kernel sizes, which have a centre voxel, got {self.kernel_size}")
        self.operation, self.is_soft = operation, softness > 0
        self.element = nn.Parameter(torch.empty(in_channels, *self.kernel_size).uniform_(-0.01, 0.0))
        self.point_weight = nn.Parameter(
            torch.empty(out_channels, in_channels // groups, *(1,) * spatial_dims)
        )
        nn.init.normal_(self.point_weight, std=LEAKY_RELU_GAIN / (in_channels // groups) ** 0.5)
        self.register_buffer("temperature", torch.tensor(float(softness)))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the operation to each channel, then mix."""
        self.check_input(x)
        ones = (1,) * self.spatial_dims
        match self.operation:
            case "dilation":
                y = self.dilate(x, self.stride)
            case "erosion":
                y = self.erode(x, self.stride)
            case "opening":
                y = self.dilate(self.erode(x, ones), self.stride)
            case _:
                y = self.erode(self.dilate(x, ones), self.stride)
        return CONV[self.spatial_dims](y, self.point_weight, self.bias, groups=self.groups)

    def dilate(self, x: Tensor, stride: Sequence[int] | None = None) -> Tensor:
        """Dilation of each channel by its element.

        Args:
            x: ``(B, in_channels, *S)``.
            stride: Step per axis; ``None``: 1.
        """
        return self._largest(x, self.element, stride)

    def erode(self, x: Tensor, stride: Sequence[int] | None = None) -> Tensor:
        """Erosion of each channel by its element: ``dil(x) <= y`` exactly where ``x <= ero(y)`` (hard).

        Args:
            x: ``(B, in_channels, *S)``.
            stride: Step per axis; ``None``: 1.
        """
        return -self._largest(-x, self.element.flip(tuple(range(1, self.element.dim()))), stride)

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds of the mixture; a sum with its comparison counts as one as well."""
        outputs = prod(self.output_shape(input_shape))
        first = prod(input_shape) if self.operation in ("opening", "closing") else 0
        return (outputs + first) * self.element.numel() + outputs * self.point_weight.numel()

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, operation={self.operation}, {'soft' if self.is_soft else 'hard'}"

    def _largest(self, x: Tensor, element: Tensor, stride: Sequence[int] | None) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32) if self.is_soft else x.dtype
        windows = self._windows(x.to(dtype), stride or (1,) * self.spatial_dims)
        weights = element.to(dtype).flatten(1).unbind(dim=1)
        shape = (-1, *[1] * self.spatial_dims)
        if not self.is_soft:
            largest = windows[0] + weights[0].reshape(shape)
            for window, weight in zip(windows[1:], weights[1:], strict=True):
                largest = torch.maximum(largest, window + weight.reshape(shape))
            return largest
        values = torch.stack([w + v.reshape(shape) for w, v in zip(windows, weights, strict=True)])
        # the maximum is taken out, so that no exponential overflows; it cancels in the gradient
        largest = values.detach().amax(dim=0)
        tau = self.temperature.to(dtype)
        soft = largest + tau * ((values - largest) / tau).exp().sum(dim=0).log()
        return soft.to(x.dtype)

    def _windows(self, x: Tensor, stride: Sequence[int]) -> list[Tensor]:
        """The input seen through each tap of the kernel, ``-∞`` outside."""
        padded = F.pad(x, [p for p in reversed(self.padding) for _ in range(2)], value=-inf)
        lengths = [
            (n + 2 * p - r * (k - 1) - 1) // s * s + 1
            for n, k, r, p, s in zip(
                x.shape[2:], self.kernel_size, self.dilation, self.padding, stride, strict=True
            )
        ]
        windows = []
        for tap in product(*(range(k) for k in self.kernel_size)):
            starts = [r * t for r, t in zip(self.dilation, tap, strict=True)]
            cut = [slice(a, a + n, s) for a, n, s in zip(starts, lengths, stride, strict=True)]
            windows.append(padded[(slice(None), slice(None), *cut)])
        return windows
