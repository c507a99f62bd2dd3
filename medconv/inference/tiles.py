"""Where tiles lie and how much each voxel of one is trusted: the same for every tile, so both are products of axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from medconv.errors import ConfigError

Blend = Literal["gaussian", "crop"]

SIGMA_SHARE = 0.125
"""Width of the Gaussian blend as a share of the patch edge, as in nnU-Net."""

_ROUNDING = 1e-9


def tile_starts(size: int, patch: int, overlap: float) -> list[int]:
    """First voxel of each tile along one axis: as few tiles as the overlap allows, evenly spread.

    Args:
        size: Voxels along the axis, at least ``patch``.
        patch: Voxels of a tile.
        overlap: Share of a tile that its neighbour covers too, at the least.

    Example:
        >>> tile_starts(20, 8, 0.5), tile_starts(8, 8, 0.5)
        ([0, 4, 8, 12], [0])
    """
    room = size - patch
    # 10 * (1 - 0.8) is a hair below 2, and one voxel less a step may be twice the tiles along each axis
    most = max(1, int(patch * (1 - overlap) + _ROUNDING))
    steps = ceil(room / most) if room > 0 else 0
    return [round(room * n / steps) for n in range(steps + 1)] if steps else [0]


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # the same tensor for callers in and outside of that mode
def axis_trust(patch: int, blend: Blend) -> Tensor:
    """How much a tile is trusted along one axis: ``(patch,)`` float32, the same tensor in every call.

    Example:
        >>> axis_trust(3, "crop")
        tensor([1., 1., 1.])
    """
    if blend == "crop":
        return torch.ones(patch)
    if blend != "gaussian":
        raise ConfigError(f"expected a blend of gaussian or crop, got {blend!r}")
    away = torch.arange(patch, dtype=torch.float64) - (patch - 1) / 2
    return torch.exp(-0.5 * (away / (SIGMA_SHARE * patch)) ** 2).float()


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def tile_trust(patch_size: tuple[int, ...], blend: Blend) -> Tensor:
    """How much each voxel of a tile is trusted: ``(*P)`` float32, the product over its axes; the same tensor again.

    Example:
        >>> tile_trust((3, 3), "gaussian").argmax()
        tensor(4)
    """
    trust = torch.ones(())
    for patch in patch_size:
        trust = trust[..., None] * axis_trust(patch, blend)
    return trust


def total_trust(size: int, patch: int, starts: Sequence[int], blend: Blend) -> Tensor:
    """Sum of the trust that all tiles along one axis put into each voxel: ``(size,)`` float32."""
    total = torch.zeros(size)
    for start, part in tile_parts(size, patch, starts, blend).items():
        total[start + part.start : start + part.stop] += axis_trust(patch, blend)[part]
    return total


def tile_parts(size: int, patch: int, starts: Sequence[int], blend: Blend) -> dict[int, slice]:
    """Which part of each tile along one axis is used, by the tile's first voxel.

    All of it where tiles are blended; with ``"crop"`` what lies nearer to its centre than to that of any other, so
    that every voxel comes from one tile.

    Example:
        >>> tile_parts(10, 6, [0, 4], "crop")
        {0: slice(0, 5, None), 4: slice(1, 6, None)}
    """
    if blend != "crop":
        return {start: slice(0, patch) for start in starts}
    borders = [0, *((before + after + patch) // 2 for before, after in pairwise(starts)), size]
    return {
        start: slice(begin - start, end - start)
        for start, (begin, end) in zip(starts, pairwise(borders), strict=True)
    }
