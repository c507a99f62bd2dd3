"""Between resolutions: pooling to a coarser grid, interpolation or transposed convolution to a finer one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from medconv.blocks.pointwise import he_init, pointwise_conv
from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, ShapeError, UnknownNameError
from medconv.kernels import max_pool, upsample_linear
from medconv.ndim import AVG_POOL, CONV_TRANSPOSE_MODULE, to_tuple
from medconv.ops import ConvFactory
from medconv.types import IntOrInts

PoolName = Literal["max", "average"]
DownsampleName = Literal["max", "average", "stride"]
UpsampleName = Literal["linear", "nearest", "transpose"]


class Downsample(nn.Module):
    """Keep the largest, or the mean, of each cell of ``stride`` voxels.

    Both commute with every rotation and reflection where ``stride`` divides the size. (The third way down,
    ``"stride"``, is not a layer of its own: the first convolution of the next block takes the step.)

    Args:
        spatial_dims: 2 or 3.
        stride: Edge of the cell per axis, in voxels.
        kind: ``"max"`` or ``"average"``.

    Shape:
        - Input ``(B, C, *S)``.
        - Output ``(B, C, *floor(S / stride))``.

    Raises:
        UnknownNameError: Another ``kind``.

    Example:
        >>> import torch
        >>> Downsample(3, (1, 2, 2))(torch.zeros(1, 4, 5, 8, 8)).shape
        torch.Size([1, 4, 5, 4, 4])
    """

    def __init__(self, spatial_dims: int, stride: IntOrInts, kind: str = "max") -> None:
        super().__init__()
        self.stride: tuple[int, ...] = to_tuple(stride, spatial_dims, "stride")
        self.kind = _known(kind, get_args(PoolName), "pooling")

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        return max_pool(x, self.stride) if self.kind == "max" else AVG_POOL[len(self.stride)](x, self.stride)

    def extra_repr(self) -> str:
        """Kind and stride."""
        return f"{self.kind}, stride={self.stride}"


class Upsample(nn.Module):
    """Bring a map to the grid of its skip connection and to its number of channels.

    ``"linear"`` and ``"nearest"`` mix channels by a 1×1 convolution and then interpolate: in this order it is
    ``prod(stride)`` times cheaper and, since interpolation weights sum to one, the same. Both commute with
    every rotation and reflection. ``"transpose"`` is nnU-Net's transposed convolution with kernel = stride;
    its free weights do not commute. Fields of ``GroupConv`` are mixed by a convolution of their own kind, given as
    ``conv``. On a GPU the backward pass of ``"linear"`` is bitwise repeatable in channels-last layout only.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the coarse map.
        out_channels: ``C`` of the result.
        stride: Ratio of the two grids per axis.
        kind: ``"linear"``, ``"nearest"`` or ``"transpose"``.
        conv: Makes the convolution with kernel 1 that mixes channels; ``None``: a plain one.

    Shape:
        - Input ``(B, in_channels, *S)`` and the wanted spatial size.
        - Output ``(B, out_channels, *size)``.

    Raises:
        UnknownNameError: Another ``kind``.
        ConfigError: ``conv`` given for ``"transpose"``, which has its own.
        ShapeError: At call time, for ``"transpose"``: a size other than ``stride`` times the input's.

    Example:
        >>> import torch
        >>> Upsample(2, 8, 4, stride=2)(torch.zeros(1, 8, 4, 4), (8, 8)).shape
        torch.Size([1, 4, 8, 8])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        stride: IntOrInts,
        kind: str = "linear",
        conv: ConvFactory | None = None,
    ) -> None:
        super().__init__()
        self.kind = _known(kind, get_args(UpsampleName), "upsampling")
        self.stride: tuple[int, ...] = to_tuple(stride, spatial_dims, "stride")
        if kind == "transpose" and conv is not None:
            raise ConfigError("expected upsample 'linear' or 'nearest' between fields, got 'transpose'")
        if conv is not None:
            self.conv: nn.Module = conv(spatial_dims, in_channels, out_channels, 1)
        elif kind == "transpose":
            self.conv = CONV_TRANSPOSE_MODULE[spatial_dims](
                in_channels, out_channels, self.stride, stride=self.stride
            )
            he_init(self.conv, fan_in=in_channels)  # kernel = stride: each voxel gets one tap
        else:
            self.conv = pointwise_conv(spatial_dims, in_channels, out_channels)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Bring ``x`` to spatial shape ``size``."""
        x = self.conv(x)
        if x.shape[2:] == tuple(size):
            return x
        if self.kind == "transpose":
            raise ShapeError(
                f"expected a grid {self.stride} times the coarse one, {tuple(x.shape[2:])}; got {tuple(size)}"
            )
        if self.kind == "linear":
            return upsample_linear(x, size)
        return F.interpolate(x, size=tuple(size), mode="nearest")

    def extra_repr(self) -> str:
        """Kind and stride."""
        return f"{self.kind}, stride={self.stride}"


def _known(kind: str, kinds: Sequence[str], what: str) -> str:
    if kind in kinds:
        return kind
    raise UnknownNameError(f"no {what} {kind!r}{did_you_mean(kind, kinds)}. All: {', '.join(kinds)}")
