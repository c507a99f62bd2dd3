"""What one resolution of an encoder–decoder consists of."""

from __future__ import annotations

from dataclasses import dataclass

from medconv.attention import AttentionFactory, SkipAttentionFactory
from medconv.blocks.base import Block, BlockFactory
from medconv.ops import ConvFactory


@dataclass(frozen=True)
class Stage:
    """Everything that the blocks of one resolution share.

    Args:
        channels: ``C`` of the stage.
        kernel_size: Taps per axis.
        stride: Step from the stage above; ones for the first.
        spacing_mm: Voxel size inside the stage.
        block: Makes its blocks.
        conv: Makes their convolutions.
        attention: Makes their attention; ``None``: none.
        norm: As in ``ConvUnit``.
        activation: As in ``ConvUnit``.
        dropout: As in ``ConvUnit``.
        skip_attention: Makes the layer on its skip connection; ``None``: none.
    """

    channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    block: BlockFactory
    conv: ConvFactory
    attention: AttentionFactory | None = None
    norm: str = "instance"
    activation: str = "leaky_relu"
    dropout: float = 0.0
    skip_attention: SkipAttentionFactory | None = None

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.kernel_size)

    @property
    def finer_spacing_mm(self) -> tuple[float, ...]:
        """Voxel size of the stage above, before the step."""
        return tuple(h / s for h, s in zip(self.spacing_mm, self.stride, strict=True))

    def build_block(self, in_channels: int, *, takes_step: bool = False) -> Block:
        """A block from ``in_channels`` to the stage's channels.

        Args:
            in_channels: ``C`` of its input.
            takes_step: Whether its input is still on the grid of the stage above.
        """
        return self.block(
            self.spatial_dims,
            in_channels,
            self.channels,
            self.kernel_size,
            conv=self.conv,
            attention=self.attention,
            norm=self.norm,
            activation=self.activation,
            dropout=self.dropout,
            spacing_mm=self.finer_spacing_mm if takes_step else self.spacing_mm,
            stride=self.stride if takes_step else 1,
        )
