"""Dilated convolution: taps further apart, at one distance or at several.

Source: Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016; Wang et al.,
"Understanding Convolution for Semantic Segmentation", WACV 2018 (gridding).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.ndim import CONV, same_padding, to_tuple
from medconv.ops.base import ConvOp
from medconv.ops.standard import LEAKY_RELU_GAIN, pointwise_symmetry
from medconv.ops.symmetry import SymmetryGroup
from medconv.types import IntOrInts


class GriddingWarning(UserWarning):
    """A dilated operator skips voxels in a regular pattern, and no layer of its kind sees them."""


class DilatedConv(ConvOp):
    r"""Convolution whose output channels look at different distances, in equal shares.

    .. math:: y[o, q] = b[o] + \sum_i \sum_\delta W[o, i, \delta] \; x[i, s q + r_o \delta - p_o]

    With several rates the first share of each group's outputs takes the first rate, the next share the
    next: more scales at the price of one plain convolution. A rate counts in the smallest voxel edge
    ``h``: along axis ``a`` it is ``max(1, round(rate h / h_a))``, so that thick slices are not leapt over.

    Use it where context decides and pooling would lose thin structures. One rate above 1, stacked, sees a
    grid with holes (*gridding*): building such an operator warns, and ``dilation_coverage`` counts the holes
    of any stack. At a stage of fewer than ``rate (kernel_size - 1)`` voxels the outer taps see padding only.

    Args:
        rates: Distances between taps, each at least 1; several share the output channels.

    Shape:
        - Input ``(B, in_channels, *S)``, any floating dtype.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: A rate below 1, no rate, more rates than output channels a group, or an even kernel.

    Warns:
        GriddingWarning: Two layers with these rates leave near voxels unseen.

    Cost:
        That of ``StandardConv``. With several rates the plain convolution it equals has mostly zeros for
        weights and costs more, so ``medconv.fold`` leaves it as it is.

    Example:
        >>> conv = DilatedConv(2, 1, 6, rates=[1, 2, 3])
        >>> conv.weight.shape, conv.dense_weight().shape
        (torch.Size([6, 1, 3, 3]), torch.Size([6, 1, 7, 7]))
    """

    neutral: ClassVar[dict[str, Any] | None] = {"rates": [1]}
    by_rate: Tensor
    to_output: Tensor

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
        rates: Sequence[int] = (1, 2),
    ) -> None:
        taps = to_tuple(kernel_size, spatial_dims, "kernel_size")
        _check_rates(rates, taps, out_channels // max(groups, 1))
        edges = to_tuple(1.0 if spacing_mm is None else spacing_mm, spatial_dims, "spacing_mm")
        self_rates = [tuple(max(1, round(r * min(edges) / h)) for h in edges) for r in rates]
        # the geometry is that of the plain convolution it equals: larger where several rates lie on one grid
        base = to_tuple(dilation, spatial_dims, "dilation")
        widest = tuple(max(rate) for rate in zip(*self_rates, strict=True))
        is_single = len(set(self_rates)) == 1
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            taps if is_single else tuple(r * (k - 1) + 1 for r, k in zip(widest, taps, strict=True)),
            stride=stride,
            dilation=tuple(d * r for d, r in zip(base, widest, strict=True)) if is_single else dilation,
            groups=groups,
            bias=bias,
            spacing_mm=spacing_mm,
        )
        self.taps, self.base_dilation = taps, base
        self.rates: list[tuple[int, ...]] = self_rates[:1] if is_single else self_rates
        self.weight = nn.Parameter(torch.empty(*self.weight_shape[:2], *taps))
        nn.init.normal_(self.weight, std=LEAKY_RELU_GAIN / prod(self.weight.shape[1:]) ** 0.5)
        self._shares = _shares(out_channels, groups, len(self.rates))
        by_rate = torch.tensor([channel for share in self._shares for channel in share])
        self.register_buffer("by_rate", by_rate, persistent=False)
        self.register_buffer("to_output", by_rate.argsort(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` at every rate for its share of the output channels."""
        if len(self.rates) == 1:
            return self.convolve(x, self.weight)
        self.check_input(x)
        y = torch.cat([self._at(x, n) for n in range(len(self.rates))], dim=1)
        # without groups the shares lie in order already
        return y if self.groups == 1 else y.index_select(1, self.to_output)

    def dense_weight(self) -> Tensor:
        """The kernel with zeros between its taps, shape ``weight_shape``."""
        if len(self.rates) == 1:
            return self.weight
        dense = self.weight.new_zeros(self.weight_shape)
        for n, rate in enumerate(self.rates):
            spread = tuple(
                slice((k - r * (t - 1)) // 2, (k + r * (t - 1)) // 2 + 1, r)
                for k, r, t in zip(self.kernel_size, rate, self.taps, strict=True)
            )
            channels = self._channels(n)
            place: tuple[Any, ...] = (channels, slice(None), *spread)
            dense[place] = self.weight.index_select(0, channels)
        return dense

    @property
    def is_worth_folding(self) -> bool:
        """Where one rate makes it PyTorch's own dilated convolution."""
        return len(self.rates) == 1

    def symmetry(self, spacing_mm: Sequence[float] | None = None) -> SymmetryGroup | None:
        """Nothing, except for kernel 1."""
        return pointwise_symmetry(self, spacing_mm)

    def macs(self, input_shape: Sequence[int]) -> int:
        """Multiply-adds of the taps, not of the zeros between them."""
        return prod(self.output_shape(input_shape)) * self.weight.numel()

    def extra_repr(self) -> str:
        """Geometry and character."""
        return f"{super().extra_repr()}, rates={self.rates}"

    def _channels(self, n: int) -> Tensor:
        """Which outputs take the n-th rate; a tensor that lies beside the weight, so that a step can be recorded."""
        start = sum(len(share) for share in self._shares[:n])
        return self.by_rate[start : start + len(self._shares[n])]

    def _at(self, x: Tensor, n: int) -> Tensor:
        """The outputs that take the n-th rate."""
        channels = self._channels(n)
        dilation = tuple(d * r for d, r in zip(self.base_dilation, self.rates[n], strict=True))
        padding = same_padding(self.taps, self.stride, dilation)
        bias = None if self.bias is None else self.bias.index_select(0, channels)
        return CONV[self.spatial_dims](
            x, self.weight.index_select(0, channels), bias, self.stride, padding, dilation, self.groups
        )


def dilation_coverage(layers: Sequence[int | Sequence[int]], kernel_size: int = 3) -> float:
    """Share of the receptive field, along one axis, that a stack of dilated layers sees; 1 is no gridding.

    Args:
        layers: One rate a layer, or several where a layer has several.
        kernel_size: Taps along the axis.

    Example:
        >>> [round(dilation_coverage(rates), 2) for rates in ([2, 2, 2], [3, 6, 9], [1, 2, 5], [[1, 3]])]
        [0.54, 0.35, 1.0, 0.71]
    """
    reach = _reach(layers, kernel_size)
    return len(reach) / (2 * max(reach) + 1)


def _reach(layers: Sequence[int | Sequence[int]], kernel_size: int) -> set[int]:
    """Distances along one axis at which a stack of dilated layers sees a voxel."""
    reach = {0}
    half = kernel_size // 2
    for rates in layers:
        steps = {
            r * t for r in ([rates] if isinstance(rates, int) else rates) for t in range(-half, half + 1)
        }
        reach = {place + step for place in reach for step in steps}
    return reach


def _check_rates(rates: Sequence[int], taps: tuple[int, ...], outputs: int) -> None:
    if not rates or min(rates) < 1:
        raise ConfigError(f"expected one or more rates of at least 1, got {list(rates)}")
    if len(rates) > max(outputs, 1):
        raise ConfigError(
            f"expected at most {max(outputs, 1)} rates, one an output channel of a group, got {list(rates)}"
        )
    if any(k % 2 == 0 for k in taps):
        raise ConfigError(f"expected odd kernel sizes, which have a centre voxel, got {taps}")
    # two layers, as in a block; the rim of what they see is always sparse
    reach = _reach([list(rates)] * 2, max(taps))
    middle = range(max(reach) // 2 + 1)
    if missed := [place for place in middle if place not in reach]:
        warnings.warn(
            f"two layers with rates {list(rates)} see no voxel at distance {missed[0]} and miss {len(missed)} of "
            f"the nearest {len(middle)} (gridding); add the rates in between, or check your whole stack with "
            "dilation_coverage and silence GriddingWarning",
            GriddingWarning,
            stacklevel=3,
        )


def _shares(out_channels: int, groups: int, parts: int) -> list[list[int]]:
    """Output channels of each rate: in every group a run of nearly equal length."""
    size = out_channels // groups
    bounds = [size * n // parts for n in range(parts + 1)]
    return [
        [g * size + c for g in range(groups) for c in range(bounds[n], bounds[n + 1])] for n in range(parts)
    ]
