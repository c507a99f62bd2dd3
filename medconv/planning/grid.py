"""Where all cases of a dataset lie, where they will be worked on, and a summary of both for people."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medconv.errors import ConfigError
from medconv.io.cases import Dataset
from medconv.io.geometry import NATIVE
from medconv.io.nifti import Header
from medconv.planning.fingerprint import Fingerprint
from medconv.planning.intensity import Intensity
from medconv.planning.rules import median_shape, median_spacing
from medconv.planning.voxels import CaseVoxels
from medconv.types import LengthUnit


@dataclass(frozen=True)
class DatasetGrid:
    """The grids of all cases and the one to work on.

    Args:
        axes: Orientation that all cases are turned to, or ``"native"``.
        shapes: ``*S`` of each case, turned; two axes where every case is a single slice.
        spacings_mm: Voxel edge lengths of each case, turned.
        spacing_mm: To work at.
        shape: Of the median case at ``spacing_mm``.
        unit: What lengths are in: ``"px"`` where nobody says how large a pixel is.
    """

    axes: str
    shapes: tuple[tuple[int, ...], ...]
    spacings_mm: tuple[tuple[float, ...], ...]
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    unit: LengthUnit = "mm"

    @classmethod
    def of(
        cls, headers: Sequence[Header], orientation: str, spacing_mm: Sequence[float] | None
    ) -> DatasetGrid:
        """Turn all headers to one orientation; single slices, all of them, make a 2-D grid on the stored axes.

        Raises:
            ConfigError: A spacing with another number of axes, or cases of known and of unknown pixel size.
        """
        unit = _common_unit(headers)
        dims = 2 if all(header.shape[2] == 1 for header in headers) else 3
        axes = NATIVE if dims == 2 else orientation
        found = Fingerprint.of_headers(headers, axes)
        shapes = tuple(shape[:dims] for shape in found.shapes)
        spacings = tuple(spacing[:dims] for spacing in found.spacings_mm)
        target = tuple(spacing_mm or median_spacing(spacings, shapes))
        if len(target) != dims:
            raise ConfigError(f"spacing_mm: expected {dims} entries, got {len(target)}")
        return cls(axes, shapes, spacings, target, median_shape(shapes, spacings, target), unit)

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.spacing_mm)

    @property
    def median_spacing_mm(self) -> tuple[float, ...]:
        """The plain median along each axis."""
        return tuple(np.median(np.asarray(self.spacings_mm), axis=0).tolist())


def default_orientation(dataset: Dataset) -> str:
    """``"RAS"``; microscopy keeps its stored axes, which no two specimens share."""
    return NATIVE if dataset.is_microscopy else "RAS"


def summarise(
    grid: DatasetGrid,
    dataset: Dataset,
    cases: Collection[CaseVoxels],
    intensities: Sequence[Intensity | None],
) -> dict[str, Any]:
    """What was seen of a dataset, as plain values for people."""
    facts: dict[str, Any] = {
        "cases": len(grid.shapes),
        "shape": _spread(grid.shapes),
        "spacing_mm": _spread(grid.spacings_mm),
        "median_shape_at_plan_spacing": list(grid.shape),
    }
    seen = {name: entry for name, entry in zip(dataset.channel_names, intensities, strict=True) if entry}
    if seen:
        facts["foreground_intensity"] = {
            name: {key: _short(value) for key, value in entry.to_dict().items()}
            for name, entry in seen.items()
        }
    if cases:
        # a single image has an area, and nobody may know how large a pixel is
        kind = "class_pixels" if dataset.is_microscopy else "class_volumes_ml"
        sizes = [case.voxels if dataset.is_microscopy else case.volumes_ml for case in cases]
        facts[kind] = {
            name: _sizes([case[label] for case in sizes if label in case])
            for label, name in dataset.label_names.items()
            if label > 0
        }
    if cases and dataset.instances:
        facts["objects_in_a_case"] = _sizes([len(case.object_voxels) for case in cases])
        facts["object_voxels"] = _sizes([n for case in cases for n in case.object_voxels])
        del facts["object_voxels"]["cases"]
    return facts


def _common_unit(headers: Sequence[Header]) -> LengthUnit:
    units = [header.geometry.unit for header in headers]
    if len(set(units)) > 1:
        unsized = [h.name for h in headers if h.geometry.unit == "px"]
        raise ConfigError(
            f"{len(unsized)} of {len(headers)} cases do not say how large a pixel is, the others do ({unsized[0]} …); "
            "state the size for all (pixel_size_um), or cut it out of the others"
        )
    return units[0]


def _spread(rows: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    table = np.asarray(rows)
    parts = {"min": table.min(axis=0), "median": np.median(table, axis=0), "max": table.max(axis=0)}
    return {name: [_short(value) for value in row.tolist()] for name, row in parts.items()}


def _short(value: float) -> float | int:
    """Six digits; whole numbers without a point."""
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short


def _sizes(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"cases": 0}
    parts = {"min": min(values), "median": float(np.median(values)), "max": max(values)}
    return {"cases": len(values), **{name: float(f"{value:.4g}") for name, value in parts.items()}}
