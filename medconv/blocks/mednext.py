"""The block of MedNeXt: a wide depthwise convolution, then a pointwise bottleneck turned inside out."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.attention import AttentionFactory
from medconv.blocks.activation import build_activation
from medconv.blocks.base import Block, check_depth
from medconv.blocks.normalisation import build_norm, cancels_bias
from medconv.blocks.pointwise import pointwise_conv
from medconv.blocks.residual import build_shortcut
from medconv.blocks.resolution import coarser_guide, coarser_spacing
from medconv.blocks.unit import build_attention
from medconv.errors import ConfigError
from medconv.ndim import to_tuple
from medconv.ops import ConvFactory
from medconv.types import IntOrInts

MAX_EXPANSION = 16


class MedNeXtBlock(Block):
    r"""``depth`` residual units of depthwise convolution, norm, expansion, nonlinearity and projection.

    .. math:: y = s(x) + P \, \phi\big( E \, \text{norm}(W_{\text{depthwise}} * x) \big)

    ``E`` and ``P`` are 1×1 convolutions, ``E`` to ``expansion`` times the channels; ``s`` is the identity, an
    average pool where the block has a stride, and a 1×1 convolution with norm where the channels change. The
    published block uses GELU and a norm of each channel by itself (``activation="gelu"``,
    ``norm="instance"``); both are the network's to say.

    Use it with ``LargeKernelConv`` and kernels of 5 voxels or more, where a dense kernel would be too dear.
    With a kernel of 3 it saves multiply-adds but, on a GPU, hardly time.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of the output.
        kernel_size: Taps per axis of the depthwise convolution.
        conv: Makes the depthwise convolutions, with ``groups`` equal to the channels.
        attention: Makes the attention layer; ``None``: none.
        norm: ``"instance"``, ``"batch"``, ``"group"`` or ``"none"``.
        activation: Nonlinearity between expansion and projection.
        dropout: Share of channels dropped in training after each unit.
        spacing_mm: Voxel size of the input; ``None`` means isotropic.
        stride: Step of the first depthwise convolution.
        depth: Number of units.
        expansion: Channels between the 1×1 convolutions over those of the output, 1 to 16.

    Shape:
        - Input ``(B, in_channels, *S)``; guide ``(B, 1, *S)`` or ``None``.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: ``depth``, ``expansion`` or ``dropout`` out of its range, or a convolution of fields
            (``GroupConv``), whose orientations the 1×1 convolutions would mix.

    Example:
        >>> import torch
        >>> from medconv.ops import LargeKernelConv
        >>> block = MedNeXtBlock(3, 4, 8, 5, conv=LargeKernelConv, activation="gelu", stride=2)
        >>> block(torch.zeros(1, 4, 8, 8, 8)).shape
        torch.Size([1, 8, 4, 4, 4])

    Source: Roy et al., "MedNeXt: Transformer-driven Scaling of ConvNets", MICCAI 2023.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts = 3,
        *,
        conv: ConvFactory,
        attention: AttentionFactory | None = None,
        norm: str = "instance",
        activation: str = "leaky_relu",
        dropout: float = 0.0,
        spacing_mm: Sequence[float] | None = None,
        stride: IntOrInts = 1,
        depth: int = 1,
        expansion: int = 2,
    ) -> None:
        super().__init__()
        if not 1 <= expansion <= MAX_EXPANSION:
            raise ConfigError(f"expected expansion from 1 to {MAX_EXPANSION}, got {expansion}")
        self.stride: tuple[int, ...] = to_tuple(stride, spatial_dims, "stride")
        self.units = nn.ModuleList(
            _Unit(
                spatial_dims,
                out_channels if i else in_channels,
                out_channels,
                kernel_size,
                conv=conv,
                norm=norm,
                activation=activation,
                dropout=dropout,
                spacing_mm=coarser_spacing(spacing_mm, self.stride) if i else spacing_mm,
                stride=1 if i else self.stride,
                expansion=expansion,
            )
            for i in range(check_depth(depth))
        )
        self.attention = build_attention(attention, spatial_dims, out_channels, norm, activation)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Apply the units in turn, then the attention."""
        x = self.units[0](x, guide)
        guide = coarser_guide(guide, self.stride)
        for unit in self.units[1:]:
            x = unit(x, guide)
        return self.attention(x)


class _Unit(nn.Module):
    """One depthwise convolution with its bottleneck and shortcut."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrInts,
        *,
        conv: ConvFactory,
        norm: str,
        activation: str,
        dropout: float,
        spacing_mm: Sequence[float] | None,
        stride: IntOrInts,
        expansion: int,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise ConfigError(f"expected dropout from 0 up to, not including, 1; got {dropout}")
        self.conv = conv(
            spatial_dims,
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            groups=in_channels,
            bias=not cancels_bias(norm),
            spacing_mm=spacing_mm,
        )
        if self.conv.orientations > 1:
            raise ConfigError(
                f"expected a convolution whose channels stand alone in MedNeXtBlock, got "
                f"{type(self.conv).__name__}: the 1×1 convolutions would mix the orientations of its fields; take "
                "PlainBlock or ResidualBlock"
            )
        self.norm = build_norm(norm, spatial_dims, in_channels)
        self.expand = pointwise_conv(spatial_dims, in_channels, expansion * out_channels)
        self.activation = build_activation(activation, inplace=True)
        self.project = pointwise_conv(spatial_dims, expansion * out_channels, out_channels)
        self.dropout = (nn.Dropout2d, nn.Dropout3d)[spatial_dims - 2](dropout) if dropout else nn.Identity()
        steps = to_tuple(stride, spatial_dims, "stride")
        self.shortcut = build_shortcut(spatial_dims, in_channels, out_channels, steps, norm)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        # a folded convolution is a plain nn.ConvNd and knows no guide
        y = self.conv(x, guide) if getattr(self.conv, "needs_guide", False) else self.conv(x)
        y = self.project(self.activation(self.expand(self.norm(y))))
        return self.dropout(y) + self.shortcut(x)
