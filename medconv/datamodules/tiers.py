"""Where training cases lie while a network trains on them, decided by bytes: device, main memory, or disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from medconv.errors import ConfigError

StoreName = Literal["auto", "device", "ram", "disk"]
Place = Literal["device", "ram", "disk"]

DEVICE_SHARE = 0.25
"""Share of a device's free memory that training cases may take by themselves; the network needs the rest."""

RAM_SHARE = 0.5
"""The same of main memory, which the system and other programs need too."""

_WHERE = {"device": "in the memory of {device}", "ram": "in main memory, patches copied to {device}"}


@dataclass(frozen=True)
class Footprint:
    """What the training cases take in memory.

    Args:
        voxels: Of all cases.
        channels: Of their images.
        label_bytes: Of a voxel of the label map.
        exact_type: The smallest type that holds the images without loss.
        may_round: Whether half precision is enough for them.
    """

    voxels: int
    channels: int
    label_bytes: int
    exact_type: torch.dtype = torch.float32
    may_round: bool = True

    def size_bytes(self, image_type: torch.dtype) -> int:
        """Of images in a type, and their label maps."""
        return self.voxels * (self.channels * image_type.itemsize + self.label_bytes)

    @property
    def types(self) -> Sequence[torch.dtype]:
        """In which the images may be held, the better one first."""
        can_shrink = self.may_round and self.exact_type.itemsize > torch.float16.itemsize
        return (self.exact_type, torch.float16) if can_shrink else (self.exact_type,)


@dataclass(frozen=True)
class Room:
    """Free memory.

    Args:
        device: Where the network trains.
        device_bytes: Of it; for a CPU that of main memory; ``None``: not known.
        ram_bytes: Main memory for this process; ``None``: not known.
    """

    device: str
    device_bytes: int | None
    ram_bytes: int | None

    @property
    def has_accelerator(self) -> bool:
        """Whether the device is a GPU with a memory of its own."""
        return self.device.split(":")[0] == "cuda"


@dataclass(frozen=True)
class Tier:
    """What was chosen.

    Args:
        place: Where the cases lie.
        image_type: In which their images lie there.
        reason: With the bytes that decided, for people.
    """

    place: Place
    image_type: torch.dtype
    reason: str


def choose_tier(footprint: Footprint, room: Room, wish: StoreName = "auto") -> Tier:
    r"""The fastest place that holds all training cases.

    .. math:: b \le s_{device} f_{device} \;\to\; device, \qquad b \le s_{RAM} f_{RAM} \;\to\; RAM, \qquad disk

    with the bytes :math:`b` in the exact type, then in half precision where that is enough, before the next place
    is asked. A place that was named may be filled whole. On a CPU ``"auto"`` is the disk: the system keeps in main
    memory what was read while there is room, once for all processes.

    Args:
        footprint: Of the cases.
        room: Of the machine.
        wish: A place, or ``"auto"``.

    Raises:
        ConfigError: The named place does not hold the cases in any type.

    Example:
        >>> tier = choose_tier(Footprint(10**9, 1, 1), Room("cuda:0", 10 * 10**9, 12 * 10**9))
        >>> tier.place, tier.image_type
        ('ram', torch.float32)
        >>> print(tier.reason.partition(";")[0])
        5.00 GB as float32, in main memory, patches copied to cuda:0
    """
    if wish == "disk" or (wish == "auto" and not room.has_accelerator):
        size = footprint.size_bytes(torch.float32)
        return Tier("disk", torch.float32, f"{_gb(size)} GB as float32, on disk, mapped into memory")
    if wish != "auto":
        return _named(footprint, room, wish)
    limits: dict[Place, int] = {
        "device": int(DEVICE_SHARE * (room.device_bytes or 0)),
        "ram": int(RAM_SHARE * (room.ram_bytes or 0)),
    }
    budget = f"{room.device} may give {_of(limits['device'], room.device_bytes)} GB free, main memory "
    budget += _of(limits["ram"], room.ram_bytes)
    for place, limit in limits.items():
        for image_type in footprint.types:
            if footprint.size_bytes(image_type) <= limit:
                return Tier(place, image_type, f"{_said(footprint, image_type, room, place)}; {budget}")
    sizes = " or ".join(f"{_gb(footprint.size_bytes(t))} GB as {_name(t)}" for t in footprint.types)
    return Tier("disk", torch.float32, f"{sizes} fit nowhere else: on disk, mapped into memory; {budget}")


def _named(footprint: Footprint, room: Room, place: Place) -> Tier:
    free = room.device_bytes if place == "device" else room.ram_bytes
    for image_type in footprint.types:
        if free is None or footprint.size_bytes(image_type) <= free:
            return Tier(place, image_type, _said(footprint, image_type, room, place))
    sizes = " or ".join(f"{_gb(footprint.size_bytes(t))} GB as {_name(t)}" for t in footprint.types)
    name = room.device if place == "device" else "main memory"
    others = "auto, ram or disk" if place == "device" else "auto or disk"
    raise ConfigError(
        f"store={place}: expected room for all training cases, {sizes}, but {name} has {_gb(free or 0)} GB free; "
        f"set store to {others}"
    )


def _said(footprint: Footprint, image_type: torch.dtype, room: Room, place: Place) -> str:
    size = f"{_gb(footprint.size_bytes(image_type))} GB as {_name(image_type)}"
    if image_type != footprint.exact_type:
        exact = footprint.exact_type
        size += (
            f" (rounded to 11 bits, 0.05 %: as {_name(exact)} they would take "
            f"{_gb(footprint.size_bytes(exact))} GB)"
        )
    return f"{size}, {_WHERE[place].format(device=room.device)}"


def _of(limit: int, free: int | None) -> str:
    return "an unknown share" if free is None else f"{_gb(limit)} of {_gb(free)}"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.3g}" if size_bytes < 1e8 else f"{size_bytes / 1e9:.2f}"


def _name(image_type: torch.dtype) -> str:
    return str(image_type).removeprefix("torch.")
