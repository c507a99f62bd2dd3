"""The ways of computing a case, from the quickest to the one that takes least of the device's memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch

CPU = torch.device("cpu")

SLAB_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


@dataclass(frozen=True)
class Way:
    """One way of computing a case.

    Args:
        device: Where the network runs.
        gather: Where the scores of all classes are gathered and decided.
        tile_batch: Tiles that pass the network together.
    """

    device: torch.device
    gather: torch.device
    tile_batch: int

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


def ways_down(device: torch.device, tile_batch: int) -> list[Way]:
    """The ladder: from the quickest way to the one that takes least of the device's memory.

    Example:
        >>> [way.words for way in ways_down(torch.device("cpu"), 2)]
        ['2 tiles at a time on the CPU', 'one tile at a time on the CPU']
    """
    batches = [tile_batch]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    if device.type == "cpu":
        return [Way(CPU, CPU, batch) for batch in batches]
    return [
        Way(device, device, tile_batch),
        *(Way(device, CPU, batch) for batch in batches),
        Way(CPU, CPU, 1),
    ]
