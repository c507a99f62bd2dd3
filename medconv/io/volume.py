"""A volume in memory: voxels, where they lie, and the header they came with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from medconv.types import Geometry


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in the patient, or pixels of a microscopy image.

    Args:
        data: ``(C, *S)``; float32 for images, ``(1, *S)`` of an unsigned integer type for labels. ``*S`` has
            three axes in the order they are stored; a single slice has one axis of length 1. Of microscopy images they
            are rows, columns, slices.
        geometry: Affine and spacing in mm, orientation of the stored axes.
        header: The file's own header, opaque; it goes back into every file written on this grid.
        path: Where it was read from; ``None`` for volumes made in memory.
    """

    data: npt.NDArray[Any]
    geometry: Geometry
    header: Any
    path: Path | None = None

    @property
    def channels(self) -> int:
        """``C``."""
        return int(self.data.shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """``*S``, the spatial shape as stored."""
        return tuple(int(size) for size in self.data.shape[1:])

    @property
    def name(self) -> str:
        """What error messages call this volume."""
        return str(self.path) if self.path is not None else "the volume in memory"
