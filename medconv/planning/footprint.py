"""How large the maps of a network are: nnU-Net's stand-in for the memory of a training step.

Source: Isensee et al., "nnU-Net", Nature Methods 2021, and "nnU-Net Revisited", MICCAI 2024, for the residual
encoders; the numbers are those of version 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from medconv.planning.stages import StagePlan

MAX_SHARE = 0.05
"""Share of the dataset's voxels that one batch may cover, against overfitting."""


@dataclass(frozen=True)
class Preset:
    """A network of nnU-Net's and the memory that it is cut for.

    Args:
        name: As nnU-Net calls it.
        voxels: Channels × voxels of all maps of a batch, by the number of axes.
        memory_gb: Of the GPU that those are meant for.
        residual_blocks: Blocks of two convolutions at each stage of the encoder, the last for all further ones;
            empty: two plain convolutions.
        max_share: Largest share of the dataset's voxels in one batch; ``None``: no limit.
    """

    name: str
    voxels: dict[int, float]
    memory_gb: float = 8.0
    residual_blocks: tuple[int, ...] = ()
    max_share: float | None = MAX_SHARE

    def capacity(self, spatial_dims: int, memory_gb: float | None = None) -> float:
        """Map voxels for a GPU of this memory, in proportion; of its own size where none is given."""
        return self.voxels[spatial_dims] * (memory_gb or self.memory_gb) / self.memory_gb


# nnU-Net counts for batches of 2 in 3-D and of 12 in 2-D; here it is the sum over the batch
PLAIN = Preset("nnU-Net", {3: 560e6 * 2, 2: 85e6 * 12})
_BLOCKS = (1, 3, 4, 6)
RESENC_M = Preset("nnU-Net ResEnc M", {3: 680e6 * 2, 2: 135e6 * 12}, 8.0, _BLOCKS, None)
RESENC_L = Preset("nnU-Net ResEnc L", {3: 2.1e9 * 2, 2: 380e6 * 12}, 24.0, _BLOCKS, None)
RESENC_XL = Preset("nnU-Net ResEnc XL", {3: 3.6e9 * 2, 2: 560e6 * 12}, 40.0, _BLOCKS, None)


def count_map_voxels(
    patch_size: Sequence[int], stages: StagePlan, num_classes: int, preset: Preset = PLAIN
) -> int:
    """Channels × voxels of every map that a convolution of the network writes, for one patch.

    Args:
        patch_size: Divisible by ``stages.divisor``.
        stages: Of the encoder; the decoder mirrors it.
        num_classes: ``K``, background included.
        preset: Which convolutions there are.

    Example:
        >>> from medconv.planning.stages import plan_stages
        >>> count_map_voxels((40, 56, 40), plan_stages((40, 56, 40), (1.0, 1.0, 1.0)), 3)
        19174400
    """
    size, maps = tuple(patch_size), list[int]()
    for channels, steps in zip(stages.channels, stages.strides, strict=True):
        size = tuple(s // step for s, step in zip(size, steps, strict=True))
        maps.append(channels * prod(size))
    blocks = preset.residual_blocks
    encoder = [2] * len(maps)
    if blocks:  # two convolutions a block, and one in the shortcut of the first, which changes the channels
        depth = [blocks[min(stage, len(blocks) - 1)] for stage in range(len(maps))]
        encoder = [2 * d + (stage > 0) for stage, d in enumerate(depth)]
        encoder[0] += 1  # the stem
    decoder = 2 if blocks else 3  # one or two convolutions, and the transposed one
    total = sum(n * voxels for n, voxels in zip(encoder, maps, strict=True)) + decoder * sum(maps[:-1])
    return total + num_classes * prod(patch_size)
