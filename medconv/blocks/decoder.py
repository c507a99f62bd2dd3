"""The way up: each map is brought to the grid of its skip connection, weighs it, and is joined with it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from medconv.attention import SkipAttention
from medconv.blocks.sampling import Upsample
from medconv.blocks.stage import Stage
from medconv.errors import ConfigError
from medconv.kernels import concatenate


class Decoder(nn.Module):
    """One block for each resolution but the coarsest; its input is the upsampled map beside the encoder's.

    Where a stage has a ``skip_attention``, it first weighs the encoder's map by what the upsampled one says.

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
        self.skip_attentions = nn.ModuleList(_skip_attention(stage) for stage in stages[:-1])
        blocks = [stage.build_block(2 * stage.channels) for stage in stages[:-1]]
        self.blocks = nn.ModuleList(blocks)
        for i, (fine, coarse) in enumerate(pairwise(stages)):
            if blocks[i].orientations > 1:  # known only now; fields are mixed by their own kind
                self.upsamples[i] = _upsample_fields(fine, coarse, upsample)

    def forward(self, features: Sequence[Tensor], guides: Sequence[Tensor | None]) -> list[Tensor]:
        """Decoded maps of all stages but the coarsest."""
        x, decoded = features[-1], []
        ways = (self.upsamples, self.skip_attentions, self.blocks)
        for upsample, weigh, block, skip, guide in zip(
            *map(reversed, ways), features[-2::-1], guides[-2::-1], strict=True
        ):
            up = upsample(x, skip.shape[2:])
            skip = weigh(skip, up) if isinstance(weigh, SkipAttention) else skip
            x = block(concatenate((skip, up)), guide)
            decoded.append(x)
        return decoded[::-1]


def _skip_attention(stage: Stage) -> nn.Module:
    if stage.skip_attention is None:
        return nn.Identity()
    return stage.skip_attention(stage.spatial_dims, stage.channels)


def _upsample_fields(fine: Stage, coarse: Stage, kind: str) -> Upsample:
    if fine.skip_attention is not None:
        raise ConfigError(
            "expected no skip_attention on the fields of GroupConv, whose orientations it would mix"
        )
    return Upsample(fine.spatial_dims, coarse.channels, fine.channels, coarse.stride, kind, fine.conv)
