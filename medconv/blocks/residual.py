"""Units beside a shortcut: the block of ResNet and of nnU-Net's ResEnc presets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.attention import AttentionFactory
from medconv.blocks.activation import build_activation
from medconv.blocks.base import Block, check_depth
from medconv.blocks.normalisation import build_norm, cancels_bias
from medconv.blocks.on_fields import on_fields
from medconv.blocks.pointwise import pointwise_conv
from medconv.blocks.resolution import coarser_guide, coarser_spacing
from medconv.blocks.unit import ConvUnit, build_attention
from medconv.ndim import to_tuple
from medconv.ops import ConvFactory
from medconv.types import IntOrInts

_POOL: dict[int, type[nn.Module]] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}


class ResidualBlock(Block):
    r"""``depth`` units whose sum with the input passes the nonlinearity, then the attention.

    .. math:: y = \text{attention}(\phi(s(x) + f(x)))

    ``f`` are the units, the last one without nonlinearity; ``s`` is the identity, an average pool where the
    block has a stride, and a 1×1 convolution with norm where the channels change. Attention comes last and
    not inside ``f``, because ``f`` ends with a norm, after which channel attention would see only constants.

    Use it for deep stages; for two convolutions a stage ``PlainBlock`` is as good and a little faster.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of every unit's output.
        kernel_size: Taps per axis.
        conv: Makes the convolutions of the units; the shortcut's 1×1 convolution is always a plain one,
            except between fields.
        attention: Makes the attention layer; ``None``: none.
        norm: ``"instance"``, ``"batch"``, ``"group"`` or ``"none"``.
        activation: A name that ``build_activation`` knows.
        dropout: Share of channels dropped in training after each unit.
        spacing_mm: Voxel size of the input; ``None`` means isotropic.
        stride: Step of the first convolution.
        depth: Number of units.

    Shape:
        - Input ``(B, in_channels, *S)``; guide ``(B, 1, *S)`` or ``None``.
        - Output ``(B, out_channels, *ceil(S / stride))``.

    Raises:
        ConfigError: ``depth`` out of its range; attention after a norm without a nonlinearity; as
            ``ConvUnit``.

    Example:
        >>> import torch
        >>> from medconv.ops import StandardConv
        >>> ResidualBlock(2, 4, 8, conv=StandardConv, stride=2)(torch.zeros(1, 4, 8, 8)).shape
        torch.Size([1, 8, 4, 4])

    Source: He et al., "Deep Residual Learning", CVPR 2016; the pooled shortcut: He et al., "Bag of Tricks for
    Image Classification", CVPR 2019.
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
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.stride: tuple[int, ...] = to_tuple(stride, spatial_dims, "stride")
        last = check_depth(depth) - 1
        units = [
            ConvUnit(
                spatial_dims,
                out_channels if i else in_channels,
                out_channels,
                kernel_size,
                conv=conv,
                norm=norm,
                activation=None if i == last else activation,
                dropout=dropout,
                spacing_mm=coarser_spacing(spacing_mm, self.stride) if i else spacing_mm,
                stride=1 if i else stride,
            )
            for i in range(depth)
        ]
        self.units = nn.ModuleList(units)
        self.orientations = n = units[-1].conv.orientations
        self.shortcut = build_shortcut(
            spatial_dims, in_channels, out_channels, self.stride, norm, n, conv if n > 1 else None
        )
        self.activation = build_activation(activation, inplace=True)
        self.attention = build_attention(attention, spatial_dims, out_channels, norm, activation, n)

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Add the units' output to the shortcut's."""
        y = self.units[0](x, guide)
        guide = coarser_guide(guide, self.stride)
        for unit in self.units[1:]:
            y = unit(y, guide)
        return self.attention(self.activation(y + self.shortcut(x)))


def build_shortcut(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    stride: tuple[int, ...],
    norm: str,
    orientations: int = 1,
    mix: ConvFactory | None = None,
) -> nn.Module:
    """The way around a residual block: nothing where shapes agree, else a pool, and a 1×1 convolution with norm."""
    layers: list[nn.Module] = []
    if max(stride) > 1:
        layers.append(_POOL[spatial_dims](stride, ceil_mode=True))
    if in_channels != out_channels:
        bias = not cancels_bias(norm)
        if mix is None:
            layers.append(pointwise_conv(spatial_dims, in_channels, out_channels, bias=bias))
        else:  # fields are mixed by their own kind of convolution
            layers.append(mix(spatial_dims, in_channels, out_channels, 1, bias=bias))
        layers.append(on_fields(build_norm(norm, spatial_dims, out_channels // orientations), orientations))
    return nn.Sequential(*layers) if layers else nn.Identity()
