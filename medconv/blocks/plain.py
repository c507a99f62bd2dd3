"""Units one after the other: the block of U-Net and nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.attention import AttentionFactory
from medconv.blocks.base import Block, check_depth
from medconv.blocks.resolution import coarser_guide, coarser_spacing
from medconv.blocks.unit import ConvUnit
from medconv.ndim import to_tuple
from medconv.ops import ConvFactory
from medconv.types import IntOrInts


class PlainBlock(Block):
    """``depth`` units in a row, attention in the last one.

    Use it by default; ``ResidualBlock`` trains more easily once a stage has four or more convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: ``C`` of the input.
        out_channels: ``C`` of every unit's output.
        kernel_size: Taps per axis.
        conv: Makes the convolutions.
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
        ConfigError: ``depth`` out of its range, or as ``ConvUnit``.

    Example:
        >>> import torch
        >>> from medconv.ops import StandardConv
        >>> PlainBlock(3, 1, 8, conv=StandardConv, stride=(1, 2, 2))(torch.zeros(1, 1, 4, 8, 8)).shape
        torch.Size([1, 8, 4, 4, 4])

    Source: Ronneberger et al., "U-Net", MICCAI 2015; Isensee et al., "nnU-Net", Nature Methods 2021.
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
                attention=attention if i == last else None,
                norm=norm,
                activation=activation,
                dropout=dropout,
                spacing_mm=coarser_spacing(spacing_mm, self.stride) if i else spacing_mm,
                stride=1 if i else stride,
            )
            for i in range(depth)
        ]
        self.units = nn.ModuleList(units)
        self.orientations = units[-1].conv.orientations

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Apply the units in turn."""
        x = self.units[0](x, guide)
        guide = coarser_guide(guide, self.stride)
        for unit in self.units[1:]:
            x = unit(x, guide)
        return x
