"""The contract that every block signs: several convolution units at one resolution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from medconv.attention import AttentionFactory
from medconv.errors import ConfigError
from medconv.ops import ConvFactory
from medconv.types import IntOrInts

MAX_DEPTH = 32
"""Most units in one block: more is a typing error or a forged file, not a network."""


class Block(nn.Module, ABC):
    """Base of all blocks: ``(B, in_channels, *S)`` to ``(B, out_channels, *ceil(S / stride))``."""

    orientations: int = 1
    """How many neighbouring channels of the output are one field, as its last operator says."""

    @abstractmethod
    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        """Apply the block.

        Args:
            x: ``(B, in_channels, *S)``.
            guide: ``(B, 1, *S)``, gradient energy of the image at the resolution of ``x``, its intensities
                behind it where an operator wants them, for operators with ``needs_guide``; others ignore it.
        """


class BlockFactory(Protocol):
    """What a block slot accepts: a block class, or ``partial(PlainBlock, depth=3)``.

    The network gives everything below, the configuration gives the rest (such as ``depth``).
    """

    def __call__(
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
    ) -> Block:
        """Build the block for one stage; ``spacing_mm`` is the voxel size of its input."""
        ...


def check_depth(depth: int) -> int:
    """Return the number of units in a block if it can be built.

    Raises:
        ConfigError: Fewer than 1, or more than ``MAX_DEPTH``.
    """
    if not 1 <= depth <= MAX_DEPTH:
        raise ConfigError(f"expected depth from 1 to {MAX_DEPTH} convolutions a block, got {depth}")
    return depth
