"""What a user decides about a plan before the rules do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medconv.errors import ConfigError, MedconvError
from medconv.io.geometry import NATIVE, check_orientation
from medconv.planning.footprint import PLAIN
from medconv.planning.instance_target import InstanceTarget


@dataclass(frozen=True)
class Wishes:
    """What the user decided; ``None`` leaves it to the rules.

    Args:
        orientation: Directions of the axes in 3-D, or ``"native"``; ``None``: ``"RAS"``, but microscopy keeps its
            stored axes. Datasets of single slices always do.
        spacing_mm: Voxel edge lengths to work at.
        patch_size: Voxels of a patch.
        batch_size: Patches in a step.
        normalization: One entry a channel.
        memory_gb: Of the GPU, in 10⁹ bytes.
        resolution: ``"low"``: coarser, until a patch sees a quarter of the median case.
        instances: How numbered objects are taught; what they are is for the dataset to say. ``None``: by
            their distance to the rim.
    """

    orientation: str | None = None
    spacing_mm: Sequence[float] | None = None
    patch_size: Sequence[int] | None = None
    batch_size: int | None = None
    normalization: Sequence[str] | None = None
    memory_gb: float = PLAIN.memory_gb
    resolution: Literal["full", "low"] = "full"
    instances: InstanceTarget | None = None

    def __post_init__(self) -> None:
        if not 0 < self.memory_gb < 10_000:
            raise ConfigError(f"memory_gb: expected a number above 0, got {self.memory_gb}")
        for name, sizes in (("patch_size", self.patch_size), ("batch_size", [self.batch_size or 1])):
            if any(size < 1 for size in sizes or ()):
                raise ConfigError(f"{name}: expected 1 or more, got {', '.join(map(str, sizes or ()))}")
        try:
            if self.orientation is not None and self.orientation != NATIVE:
                check_orientation(self.orientation)
        except MedconvError as error:
            raise ConfigError(f"orientation: {error}") from error
