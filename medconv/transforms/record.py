"""What was done to a volume."""

from __future__ import annotations

from dataclasses import dataclass

from medconv.types import Geometry


@dataclass(frozen=True, eq=False)
class Record:
    """What was done to a volume, so that it can be undone.

    Args:
        name: What error messages call the volume.
        shape: ``*S`` as stored, three axes.
        geometry: As stored.
        work_shape: ``*S'``, what the network sees, three axes.
        work_geometry: The geometry of that grid.
    """

    name: str
    shape: tuple[int, ...]
    geometry: Geometry
    work_shape: tuple[int, ...]
    work_geometry: Geometry
