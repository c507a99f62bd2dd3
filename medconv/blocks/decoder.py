"""The way up: each map is brought to the grid of its skip connection and joined with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from medconv.blocks.sampling import Upsample
from medconv.blocks.stage import Stage
from medconv.kernels import concatenate


class Decoder(nn.Module):
    """One block for each resolution but the coarsest; its input is the upsampled map beside the encoder's.

    Args:
        stages: Finest first, all stages of the encoder; the coarsest only gives its map.
        upsample: ``"linear"``, ``"nearest"`` or ``"transpose"``.

    Shape:
        - Input: maps ``(B, C_i, *S_i)``, finest first; one guide ``(B, 1, *S_i)`` or ``None`` a stage.
        - Output: a list of ``(B, C_i, *S_i)``, finest first, without the coarsest.
    """

    def __init__(self, stages: Sequence[Stage], upsample: str = "linear") -> None:
        super().__init__()
        self.upsamples = nn.ModuleList(
            Upsample(fine.spatial_dims, coarse.channels, fine.channels, coarse.stride, upsample)
            for fine, coarse in pairwise(stages)
        )
        self.blocks = nn.ModuleList(stage.build_block(2 * stage.channels) for stage in stages[:-1])

    def forward(self, features: Sequence[Tensor], guides: Sequence[Tensor | None]) -> list[Tensor]:
        """Decoded maps of all stages but the coarsest."""
        x, decoded = features[-1], []
        for upsample, block, skip, guide in zip(
            reversed(self.upsamples), reversed(self.blocks), features[-2::-1], guides[-2::-1], strict=True
        ):
            x = block(concatenate((skip, upsample(x, skip.shape[2:]))), guide)
            decoded.append(x)
        return decoded[::-1]
