"""What was done to a volume."""

from __future__ import annotations

from dataclasses import dataclass

from medconv.io.geometry import crop_geometry
from medconv.planning.nonzero import Box
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
        box: What was kept of the stored axes before anything else; ``None``: everything.
    """

    name: str
    shape: tuple[int, ...]
    geometry: Geometry
    work_shape: tuple[int, ...]
    work_geometry: Geometry
    box: Box | None = None

    @property
    def kept(self) -> tuple[slice, ...]:
        """The box as an index into arrays ``(C, *S)``."""
        return (slice(None), *(slice(low, high) for low, high in self.box or [(0, n) for n in self.shape]))

    @property
    def kept_shape(self) -> tuple[int, ...]:
        """Voxels of the box along the stored axes."""
        return tuple(high - low for low, high in self.box) if self.box else self.shape

    @property
    def kept_geometry(self) -> Geometry:
        """Where the box lies."""
        return crop_geometry(self.geometry, [low for low, _ in self.box]) if self.box else self.geometry
