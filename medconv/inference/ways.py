"""The ways of computing a case, from the quickest to the one that takes least of the device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import torch

CPU = torch.device("cpu")

FEWEST_TILES, MOST_TILES = 4, 16
_VOXELS_AT_ONCE = 2**20
"""Of tiles: 16 of 256 x 256; a large GPU is busy with them for longer than the host takes to start their kernels."""

SLAB_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


@dataclass(frozen=True)
class Way:
    """One way of computing a case.

    Args:
        device: Where the network runs.
        gather: Where the scores of all classes are gathered and decided.
        tile_batch: Tiles that pass the network together.
        is_recorded: Whether passes may be recorded and replayed, which keeps memory.
    """

    device: torch.device
    gather: torch.device
    tile_batch: int
    is_recorded: bool = False

    @property
    def words(self) -> str:
        """The way in words."""
        tiles = f"{self.tile_batch} tiles at a time" if self.tile_batch > 1 else "one tile at a time"
        where = "on the CPU" if self.device.type == "cpu" else f"on {self.device}"
        apart = ", scores gathered on the CPU" if self.gather.type != self.device.type else ""
        return f"{tiles} {where}{apart}"

    @property
    def slab_elements(self) -> int:
        """Values that are resampled at once."""
        return SLAB_ELEMENTS.get(self.gather.type, SLAB_ELEMENTS["cpu"])


def ways_down(device: torch.device, tile_batch: int, *, is_recorded: bool = False) -> list[Way]:
    """The ladder: from the quickest way to the one that takes least of the device's memory.

    Args:
        device: Where the network is.
        tile_batch: Tiles that pass it together at best.
        is_recorded: Whether passes may be recorded; recordings are what is given up first.

    Example:
        >>> [way.words for way in ways_down(torch.device("cpu"), 2)]
        ['2 tiles at a time on the CPU', 'one tile at a time on the CPU']
    """
    if is_recorded:
        quickest, *others = ways_down(device, tile_batch)
        return [replace(quickest, is_recorded=True), quickest, *others]
    batches = [tile_batch]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    if device.type == "cpu":
        return [Way(CPU, CPU, batch) for batch in batches]
    quick = [batch for batch in batches if batch >= FEWEST_TILES] or [tile_batch]
    slow = [batch for batch in batches if batch <= quick[-1]]
    return [
        *(Way(device, device, batch) for batch in quick),
        *(Way(device, CPU, batch) for batch in slow),
        Way(CPU, CPU, 1),
    ]


def gains_by_recording(patch_size: Sequence[int], device: torch.device) -> bool:
    """Whether a pass over tiles ends sooner than a host starts its kernels, so that a recording pays.

    Example:
        >>> [gains_by_recording(patch, torch.device("cuda")) for patch in ((256, 256), (40, 56, 40), (128, 128, 128))]
        [True, True, False]
    """
    return device.type == "cuda" and FEWEST_TILES * prod(patch_size) <= _VOXELS_AT_ONCE


def usual_tile_batch(patch_size: Sequence[int], device: torch.device) -> int:
    """Tiles that pass a network together where nobody says how many: more of small ones on a GPU.

    Example:
        >>> [usual_tile_batch(patch, torch.device("cuda")) for patch in ((256, 256), (40, 56, 40), (128, 128, 128))]
        [16, 11, 4]
    """
    if device.type == "cpu":
        return FEWEST_TILES
    return min(MOST_TILES, max(FEWEST_TILES, _VOXELS_AT_ONCE // prod(patch_size)))
