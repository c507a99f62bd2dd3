"""The way down: one block a resolution, each map kept for the way up."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from medconv.blocks.sampling import Downsample
from medconv.blocks.stage import Stage


class Encoder(nn.Module):
    """Blocks with a step to a coarser grid between them.

    Args:
        in_channels: ``C`` of the image.
        stages: Finest first.
        downsample: ``"max"`` or ``"average"`` pooling, or ``"stride"``: the first convolution of the block
            takes the step, as in nnU-Net. Pooling keeps rotations and reflections exact, a stride with kernel
            3 does not.

    Shape:
        - Input ``(B, in_channels, *S)``; one guide ``(B, 1, *S_i)`` or ``None`` a stage.
        - Output: a list of ``(B, C_i, *S_i)``, finest first.
    """

    def __init__(self, in_channels: int, stages: Sequence[Stage], downsample: str = "max") -> None:
        super().__init__()
        self.strided = downsample == "stride"
        inputs = [in_channels, *(stage.channels for stage in stages[:-1])]
        self.downsamples = nn.ModuleList(
            nn.Identity()
            if self.strided or i == 0
            else Downsample(stage.spatial_dims, stage.stride, downsample)
            for i, stage in enumerate(stages)
        )
        self.blocks = nn.ModuleList(
            stage.build_block(channels, takes_step=self.strided and i > 0)
            for i, (stage, channels) in enumerate(zip(stages, inputs, strict=True))
        )

    def forward(self, x: Tensor, guides: Sequence[Tensor | None]) -> list[Tensor]:
        """Maps of all stages."""
        features = []
        for i, (downsample, block) in enumerate(zip(self.downsamples, self.blocks, strict=True)):
            # a block that takes the step gets the guide of the grid that it starts from
            guide = guides[i - 1 if self.strided and i else i]
            x = block(downsample(x), guide)
            features.append(x)
        return features
