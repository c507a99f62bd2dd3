"""Objects of many masks as a CSV: one row an object, the unit in the name of each column."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from medconv.inference.region_properties import Regions
from medconv.io import write_text

REGION_COLUMNS = ("case", "object")
"""With which every table of objects begins."""

_DIGITS = 7
_AXES = ("row", "column", "slice")


class RegionTable:
    """Rows by case, written as a whole; those of earlier runs are kept for cases that are not done again.

    Columns: ``case``, ``object`` (its number in the mask), ``area_um2`` (``volume_um3`` in a stack), ``centroid_…_um``,
    ``bbox_…_px`` (the last ones just beyond the object), intensities, ``eccentricity``, ``major_axis_um``,
    ``minor_axis_um``, ``orientation_rad``, ``perimeter_um``, ``touches_border``. Where nobody stated the size of a
    pixel the names end in ``_px``, an area is a number of pixels, and no size is invented; a table of both kinds of
    images has both columns, one of them empty. Columns without any value are left out.

    Args:
        path: Of the CSV.
        channel_names: Of the images.
    """

    def __init__(self, path: str | Path, channel_names: Sequence[str]) -> None:
        self.path = Path(path)
        self._channels = list(channel_names)
        self._rows: dict[str, list[dict[str, str]]] = {}
        self._order = _every_column(self._channels)

    def keep_earlier(self) -> None:
        """Take over the rows of the file as it is, if it is a table of such columns."""
        try:
            with self.path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
                reader = csv.DictReader(stream)
                rows = list(reader)
        except (OSError, ValueError, csv.Error):
            return
        columns = tuple(reader.fieldnames or ())
        if columns[: len(REGION_COLUMNS)] == REGION_COLUMNS and set(columns) <= set(self._order):
            for row in rows:
                # no cell behind the last column
                own = {column: row[column] for column in columns if row[column]}
                self._rows.setdefault(row["case"], []).append(own)

    def __contains__(self, case_id: str) -> bool:
        return case_id in self._rows

    def add(self, case_id: str, regions: Regions) -> None:
        """Put the objects of a case in, in place of earlier ones."""
        self._rows[case_id] = [self._row(case_id, regions, own) for own in regions.rows()]

    def write(self) -> Path:
        """Write all rows, sorted by case; whole or not at all."""
        rows = [row for _, own in sorted(self._rows.items()) for row in own]
        filled = {column for row in rows for column in row} | {*REGION_COLUMNS}
        stream = io.StringIO()
        writer = csv.DictWriter(
            stream, [c for c in self._order if c in filled], restval="", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, stream.getvalue())
        return self.path

    def _row(self, case_id: str, regions: Regions, own: Mapping[str, Any]) -> dict[str, str]:
        unit, axes = regions.unit, _AXES[: regions.axes]
        values: dict[str, float] = {_size_column(regions): own["size"]}
        values |= {f"centroid_{a}_{unit}": v for a, v in zip(axes, own["centroid"], strict=True)}
        for side, part in (("first", own["box_px"][: len(axes)]), ("beyond", own["box_px"][len(axes) :])):
            values |= {f"bbox_{side}_{a}_px": v for a, v in zip(axes, part, strict=True)}
        for kind in ("mean", "min", "max"):
            values |= dict(zip(_intensity(kind, self._channels), own[f"{kind}_intensity"], strict=True))
        values |= {f"{name}_{unit}": own[name] for name in ("major_axis", "minor_axis", "perimeter")}
        values |= {name: own[name] for name in ("eccentricity", "orientation_rad")}
        row = {"case": case_id, "object": str(own["number"])}
        row |= {name: _number(value) for name, value in values.items() if not isnan(value)}
        return row | {"touches_border": str(own["touches_border"]).lower()}


def _size_column(regions: Regions) -> str:
    name, power = ("area", "2") if regions.axes == 2 else ("volume", "3")
    return f"{name}_px" if regions.unit == "px" else f"{name}_um{power}"


def _intensity(kind: str, channels: Sequence[str]) -> list[str]:
    return [f"{kind}_intensity_{name}" for name in channels] if len(channels) > 1 else [f"{kind}_intensity"]


def _every_column(channels: Sequence[str]) -> list[str]:
    """All there can be, in the order in which they are written."""
    units = ("um", "px")
    columns = [*REGION_COLUMNS, "area_um2", "area_px", "volume_um3", "volume_px"]
    columns += [f"centroid_{axis}_{unit}" for unit in units for axis in _AXES]
    columns += [f"bbox_{side}_{axis}_px" for side in ("first", "beyond") for axis in _AXES]
    columns += [name for kind in ("mean", "min", "max") for name in _intensity(kind, channels)]
    columns += ["eccentricity", *(f"{name}_axis_{unit}" for name in ("major", "minor") for unit in units)]
    return [*columns, "orientation_rad", *(f"perimeter_{unit}" for unit in units), "touches_border"]


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}"
