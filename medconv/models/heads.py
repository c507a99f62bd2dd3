"""From features to logits, at full resolution and, in training, at coarser ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.blocks import PoolFields, pointwise_conv

UNDECIDED = 0.1
"""Share of He's initial weights that a head starts with."""


class SegmentationHeads(nn.Module):
    """A 1×1 convolution to class logits for each given resolution.

    The first is the network's output; the others are auxiliary (deep supervision) and work only in training.
    Without deep supervision they do not exist. Weights start small, so that no class is preferred without
    reason and cross-entropy starts at ``log K``.

    Args:
        spatial_dims: 2 or 3.
        channels: ``C`` of each map, finest first; one entry means no deep supervision.
        num_classes: ``K``.
        orientations: Channels to a field; more than 1: the largest orientation of each field is what a head sees.

    Shape:
        - Input: maps ``(B, C_i, *S_i)``, finest first; maps beyond the last head are left alone.
        - Output: logits ``(B, K, *S_i)``, finest first; outside training only the first.

    Source: Lee et al., "Deeply-Supervised Nets", AISTATS 2015.
    """

    def __init__(
        self, spatial_dims: int, channels: Sequence[int], num_classes: int, orientations: int = 1
    ) -> None:
        super().__init__()
        self.pool = nn.Identity() if orientations == 1 else PoolFields(orientations)
        self.heads = nn.ModuleList(
            pointwise_conv(spatial_dims, c // orientations, num_classes, gain=UNDECIDED) for c in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Logits of the heads that work in this mode."""
        working = len(self.heads) if self.training else 1
        return [head(self.pool(x)) for head, x in zip(self.heads[:working], features[:working], strict=True)]
