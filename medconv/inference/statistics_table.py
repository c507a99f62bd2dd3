"""Structures of many cases as a CSV: one row a case and label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from medconv.inference.statistics import Structure
from medconv.io import write_text

_AXES = ("r", "a", "s")
_SURE = "mean_probability"
_DIGITS = 7


class StatisticsTable:
    """Rows by case, written as a whole; those of earlier runs are kept for cases that are not done again.

    Columns: ``case``, ``label``, ``name``, ``voxels``, ``volume_ml``, ``mean_intensity`` (one a channel where there
    are several), ``centroid_r_mm``, ``centroid_a_mm``, ``centroid_s_mm``, ``touches_border``, and
    ``mean_probability`` where probabilities were asked for, now or for a row that is kept. A cell of an absent
    structure is empty, and so are lengths and volumes where nobody knows how large (or a single image: how thick) a
    pixel is.

    Args:
        path: Of the CSV.
        channel_names: Of the images.
        has_probabilities: Whether there is a column for them.
    """

    def __init__(
        self, path: str | Path, channel_names: Sequence[str], *, has_probabilities: bool = False
    ) -> None:
        self.path = Path(path)
        means = (
            [f"mean_intensity_{name}" for name in channel_names]
            if len(channel_names) > 1
            else ["mean_intensity"]
        )
        self._means = means
        self.columns = (
            "case",
            "label",
            "name",
            "voxels",
            "volume_ml",
            *means,
            *(f"centroid_{axis}_mm" for axis in _AXES),
            "touches_border",
            *([_SURE] if has_probabilities else []),
        )
        self._rows: dict[str, list[dict[str, str]]] = {}

    def keep_earlier(self) -> None:
        """Take over the rows of the file as it is, if it is a table of these columns, with probabilities or without."""
        try:
            with self.path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
                reader = csv.DictReader(stream)
                rows = list(reader)
        except (OSError, ValueError, csv.Error):
            return
        found = tuple(reader.fieldnames or ())
        if found == self.columns or {*found} ^ {*self.columns} == {_SURE}:
            self.columns = max(found, self.columns, key=len)
            for row in rows:
                # no cell behind the last column
                own = {column: row.get(column, "") for column in self.columns}
                self._rows.setdefault(row["case"], []).append(own)

    def __contains__(self, case_id: str) -> bool:
        return case_id in self._rows

    def add(self, case_id: str, structures: Iterable[Structure]) -> None:
        """Put the rows of a case in, in place of earlier ones."""
        self._rows[case_id] = [self._row(case_id, structure) for structure in structures]

    def write(self) -> Path:
        """Write all rows, sorted by case; whole or not at all."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, self.columns, lineterminator="\n")
        writer.writeheader()
        for _, rows in sorted(self._rows.items()):
            writer.writerows(rows)
        write_text(self.path, stream.getvalue())
        return self.path

    def _row(self, case_id: str, structure: Structure) -> dict[str, str]:
        sure = structure.mean_probability
        row = {
            "case": case_id,
            "label": str(structure.label),
            "name": structure.name,
            "voxels": str(structure.voxels),
            "volume_ml": "" if structure.volume_ml is None else _number(structure.volume_ml),
            "touches_border": str(structure.touches_border).lower(),
            _SURE: "" if sure is None else _number(sure),
        }
        row |= _numbers(self._means, structure.mean_intensity)
        row |= _numbers([f"centroid_{axis}_mm" for axis in _AXES], structure.centroid_mm)
        return {column: row[column] for column in self.columns}


def _numbers(columns: Sequence[str], values: Sequence[float]) -> Mapping[str, str]:
    return dict(zip(columns, map(_number, values), strict=True)) if values else dict.fromkeys(columns, "")


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}"
