"""The table of everything measured: a row for each case and structure, merged from anywhere without loss."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medconv.errors import DatasetError
from medconv.metrics.case import TOLERANCE_MM, foreground_names, label_tolerances, measure_case
from medconv.metrics.rows import CaseRow, read_rows, write_rows
from medconv.metrics.summary import Empties, Summary, summarise


class SegmentationTable:
    """Overlap, volume and surface distances of every case and structure, on each case's own grid.

    Rows are plain values: gather them from any number of processes, ``merge`` them, and the summary is the
    same to the last digit as from one process, whatever the order and however often a sampler repeated a
    case.

    Args:
        label_names: Name of each label; 0 is background and is not measured.
        empties: See ``Summary.empties``.
        tolerances_mm: Of the normalised surface Dice, as ``measure_case`` takes it.

    Raises:
        ConfigError: There is no label other than background, or a tolerance does not fit.

    Cost:
        One pass for the counts and one for all surfaces, whatever the number of labels.

    Example:
        >>> import numpy as np
        >>> table = SegmentationTable({0: "background", 1: "head", 2: "tail"})
        >>> ref = np.zeros((8, 8, 8), np.uint8)
        >>> ref[2:4, 2:4, 2:4], ref[5:7, 5:7, 5:7] = 1, 2
        >>> table.add("case_001", np.where(ref == 1, 1, 0), ref, spacing_mm=(1, 1, 2))
        >>> [(row.name, row.dice, row.hd95_mm) for row in table.rows]
        [('head', 1.0, 0.0), ('tail', 0.0, inf)]
        >>> summary = table.summary()
        >>> tail = summary.labels[1]
        >>> summary.class_first_mean_dice, tail.n_missed, round(tail.mean_hd95_mm, 3)
        (0.5, 1, 17.146)
    """

    def __init__(
        self,
        label_names: Mapping[int, str],
        empties: Empties = "diagonal",
        tolerances_mm: float | Mapping[int, float] = TOLERANCE_MM,
    ) -> None:
        self.label_names = foreground_names(label_names)
        label_tolerances(tolerances_mm, self.label_names)
        self.empties = empties
        self.tolerances_mm = tolerances_mm
        self._rows: dict[tuple[str, int], CaseRow] = {}

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @property
    def rows(self) -> list[CaseRow]:
        """All rows by case and label, whatever the order in which they came."""
        return [self._rows[key] for key in sorted(self._rows)]

    def add(self, case_id: str, pred: Any, ref: Any, spacing_mm: Any) -> None:
        """Measure one case.

        Args:
            case_id: Its name; a case may come again if it measures the same.
            pred: Integer labels ``(*S)`` on the reference's grid.
            ref: Integer labels ``(*S)``.
            spacing_mm: Voxel edge lengths of that grid, in any numeric form.

        Raises:
            ShapeError: The maps differ in shape or are not integer.
            GeometryError: The spacing does not fit.
            DatasetError: A map holds a label without a name, or the case came before with another result.
        """
        self.merge(measure_case(case_id, pred, ref, spacing_mm, self.label_names, self.tolerances_mm))

    def merge(self, rows: Iterable[CaseRow]) -> None:
        """Take over rows measured elsewhere; a row that is here already is checked and not counted twice.

        Raises:
            DatasetError: A label is not in this table, or a row contradicts the one that is here.
        """
        for row in rows:
            if row.label not in self.label_names:
                raise DatasetError(
                    f"case {row.case_id}: label {row.label} ({row.name}) is not in this table, "
                    f"which has {self.label_names}"
                )
            known = self._rows.setdefault(row.key, row)
            if not known.agrees_with(row):
                raise DatasetError(
                    f"case {row.case_id}, {row.name}: measured twice with different results, "
                    f"{known} and {row}; give different cases different names"
                )

    def summary(self) -> Summary:
        """The numbers to report: each class with its counts, and the mean over classes."""
        return summarise(self.rows, self.empties)

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write all rows; the file appears whole or not at all.

        Returns:
            The path written.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                write_rows(self.rows, stream)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], empties: Empties = "diagonal") -> SegmentationTable:
        """Read a table that ``to_csv`` wrote.

        Raises:
            DatasetError: The file is no such table, is empty, or contradicts itself; the text names the file.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as stream:
                rows = list(read_rows(stream))
            if not rows:
                raise DatasetError("expected at least one row, got none")
            table = cls({row.label: row.name for row in rows}, empties)
            table.merge(rows)
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from None
        return table
