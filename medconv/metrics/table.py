"""The table of everything measured: a row for each case and structure, merged from anywhere without loss."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import nan, prod
from pathlib import Path
from typing import Any

import numpy as np

from medconv.errors import ConfigError, DatasetError
from medconv.metrics.grid import LabelMap, as_label_maps, as_spacing_mm, diagonal_mm
from medconv.metrics.overlap import CountArray, contingency, dice_from
from medconv.metrics.rows import CaseRow, read_rows, write_rows
from medconv.metrics.summary import Empties, Summary, summarise
from medconv.metrics.surface import SurfaceDistances, label_surface_distances

_MM3_PER_ML = 1000.0


class SegmentationTable:
    """Dice and Hausdorff distances of every case and structure, on each case's own grid.

    Rows are plain values: gather them from any number of processes, ``merge`` them, and the summary is the
    same to the last digit as from one process, whatever the order and however often a sampler repeated a
    case.

    Args:
        label_names: Name of each label; 0 is background and is not measured.
        empties: See ``Summary.empties``.

    Raises:
        ConfigError: There is no label other than background.

    Cost:
        One pass for the counts and one for all surfaces, whatever the number of labels.

    Example:
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

    def __init__(self, label_names: Mapping[int, str], empties: Empties = "diagonal") -> None:
        self.label_names = {int(k): str(v) for k, v in sorted(label_names.items()) if int(k) != 0}
        if not self.label_names:
            raise ConfigError(
                f"expected at least one label besides background (0) in label_names, got {dict(label_names)}"
            )
        self.empties = empties
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
        pred, ref = as_label_maps(pred, ref)
        spacing = as_spacing_mm(spacing_mm, pred.ndim)
        table = self._count_pairs(case_id, pred, ref)
        dice, ref_voxels, pred_voxels = dice_from(table), table.sum(1), table.sum(0)
        distances = label_surface_distances(pred, ref, spacing)
        voxel_ml = prod(spacing) / _MM3_PER_ML if pred.ndim == 3 else nan
        nowhere = SurfaceDistances(np.empty(0), np.empty(0))
        self.merge(
            CaseRow(
                case_id=case_id,
                label=label,
                name=name,
                dice=float(dice[label]),
                hd_mm=distances.get(label, nowhere).hausdorff_mm(),
                hd95_mm=distances.get(label, nowhere).hausdorff_mm(95),
                ref_empty=not ref_voxels[label],
                pred_empty=not pred_voxels[label],
                ref_volume_ml=float(ref_voxels[label] * voxel_ml),
                pred_volume_ml=float(pred_voxels[label] * voxel_ml),
                diagonal_mm=diagonal_mm(pred.shape, spacing),
            )
            for label, name in self.label_names.items()
        )

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

    def _count_pairs(self, case_id: str, pred: LabelMap, ref: LabelMap) -> CountArray:
        """The contingency table, after a check that every label has a name."""
        allowed, top = {0, *self.label_names}, max(self.label_names)
        for side, labels in (("prediction", pred), ("reference", ref)):
            if int(labels.min()) < 0 or int(labels.max()) > top:
                raise _unnamed(case_id, side, set(np.unique(labels).tolist()) - allowed, allowed)
        table = contingency(pred, ref, top + 1)
        for side, voxels in (("prediction", table.sum(0)), ("reference", table.sum(1))):
            if found := set(np.flatnonzero(voxels).tolist()) - allowed:
                raise _unnamed(case_id, side, found, allowed)
        return table


def _unnamed(case_id: str, side: str, found: set[int], allowed: set[int]) -> DatasetError:
    return DatasetError(
        f"case {case_id}: expected labels {sorted(allowed)} in the {side}, got also {sorted(found)}; "
        "name them in label_names or map them to others"
    )
