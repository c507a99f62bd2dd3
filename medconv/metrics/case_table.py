"""The finished table: every row that was measured, unchangeable, and what follows from it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from math import nan
from types import MappingProxyType
from typing import Any, ClassVar

from medconv.errors import DatasetError
from medconv.metrics.row_table import RowTable, keep_once
from medconv.metrics.row_text import RowText
from medconv.metrics.rows import CASE_ROWS, CaseRow
from medconv.metrics.scores import SCORES, Empties, Score, check_empties, score_of
from medconv.metrics.summary import (
    Summary,
    case_means,
    common_tolerances,
    convention_of,
    in_the_mean,
    label_order,
    summarise,
)


class CaseTable(RowTable[CaseRow]):
    """Rows (case × structure) in a fixed order, whatever the order in which they were measured.

    A case that comes several times, as from a sampler that fills up the last batch, is kept once, if it
    measures the same. What an empty structure means is decided in the summary: the rows hold what was seen.

    Args:
        rows: In any order.
        label_names: Number to name of everything measured; ``None`` takes it from the rows.
        empties: The policy of summaries; see ``Summary.empties``.

    Raises:
        DatasetError: Two rows contradict each other or differ in convention, or a label is not in ``label_names``.
        ConfigError: An unknown policy.

    Example:
        >>> row = CaseRow("case_001", 1, "head", 0.9, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)
        >>> table = CaseTable([row, row])
        >>> len(table), table.case_ids, table.summary().class_first["dice"]
        (1, ('case_001',), 0.9)
    """

    __slots__ = ("_convention", "_empties", "_label_names")
    text: ClassVar[RowText[CaseRow]] = CASE_ROWS
    scores: ClassVar[Mapping[str, Score]] = MappingProxyType(SCORES)
    compared: ClassVar[tuple[str, ...]] = ("dice", "nsd", "hd95_mm")

    def __init__(
        self,
        rows: Iterable[CaseRow],
        label_names: Mapping[int, str] | None = None,
        empties: Empties | float = "diagonal",
    ) -> None:
        kept = keep_once(rows, CASE_ROWS)
        super().__init__(sorted(kept, key=lambda row: (row.case_id, *label_order(row.label))))
        self._label_names = _names(self._rows, label_names)
        self._empties = check_empties(empties)
        self._convention = convention_of(self._rows)

    def __repr__(self) -> str:
        return f"CaseTable({len(self.case_ids)} cases, {', '.join(self._label_names.values())})"

    @property
    def label_names(self) -> Mapping[int, str]:
        """Number to name: classes, then regions (negative)."""
        return MappingProxyType(self._label_names)

    @property
    def empties(self) -> Empties | float:
        """The policy of summaries."""
        return self._empties

    @property
    def convention(self) -> str:
        """How distances were measured, in words."""
        return self._convention

    def of_cases(self, case_ids: Collection[str]) -> CaseTable:
        """The part of the table that speaks of these cases."""
        wanted = set(case_ids)
        rows = [row for row in self._rows if row.case_id in wanted]
        return CaseTable(rows, self._label_names, self._empties)

    def of_labels(self, labels: Collection[int]) -> CaseTable:
        """The part of the table that speaks of these structures."""
        wanted = set(labels)
        rows = [row for row in self._rows if row.label in wanted]
        names = {label: name for label, name in self._label_names.items() if label in wanted}
        return CaseTable(rows, names, self._empties)

    def summary(self, empties: Empties | float | None = None) -> Summary:
        """The numbers to report.

        Args:
            empties: Another policy than the table's own.
        """
        return summarise(self._rows, self._empties if empties is None else empties)

    def columns(self, score: str, empties: Empties | float) -> dict[int, dict[str, float]]:
        """A score case by case: of each structure by its number, and under 0 the mean over structures."""
        counted = in_the_mean(self._label_names)
        found = {0: case_means([row for row in self._rows if row.label in counted], score, empties)}
        for label in self._label_names:
            found[label] = {
                row.case_id: score_of(row, score, empties) for row in self._rows if row.label == label
            }
        return found

    def head(self) -> dict[str, Any]:
        """Conventions, names and summary; the flags ``ref_empty`` and ``pred_empty`` of a row say what is absent.

        A distance is infinite where one of them is true, undefined where both are.
        """
        tolerances = common_tolerances(self._rows)
        return {
            "conventions": {
                "surface": self._convention,
                "empties": self._empties,
                "nsd_tolerance_mm": {name: tolerances.get(name, nan) for name in self._label_names.values()},
            },
            "label_names": {str(label): name for label, name in self._label_names.items()},
            "summary": self.summary().to_dict(),
        }

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], empties: Empties | float = "diagonal") -> CaseTable:
        """Read a table that ``to_csv`` wrote.

        Raises:
            DatasetError: The file is absent, no such table, empty, or contradicts itself; the text names it.
        """
        return cls._read(path, empties=empties)


def _names(rows: Iterable[CaseRow], given: Mapping[int, str] | None) -> dict[int, str]:
    names = dict(given or {})
    for row in rows:
        if given is not None and row.label not in names:
            raise DatasetError(
                f"case {row.case_id}: label {row.label} ({row.name}) is not in this table, which has {names}"
            )
        if names.setdefault(row.label, row.name) != row.name:
            raise DatasetError(
                f"case {row.case_id}: label {row.label} is called {row.name}, before {names[row.label]}"
            )
    return dict(sorted(names.items(), key=lambda pair: label_order(pair[0])))
