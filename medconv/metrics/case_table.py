"""The finished table: every row that was measured, unchangeable, and what follows from it."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any

from medconv import __version__
from medconv.errors import DatasetError
from medconv.metrics.rows import COLUMNS, CaseRow, read_rows, write_rows
from medconv.metrics.scores import Empties, check_empties
from medconv.metrics.summary import Summary, convention_of, label_order, summarise


class CaseTable:
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

    __slots__ = ("_convention", "_empties", "_label_names", "_rows")

    def __init__(
        self,
        rows: Iterable[CaseRow],
        label_names: Mapping[int, str] | None = None,
        empties: Empties | float = "diagonal",
    ) -> None:
        kept: dict[tuple[str, int], CaseRow] = {}
        for row in rows:
            known = kept.setdefault(row.key, row)
            if known is not row and (contradictions := known.contradictions(row)):
                told = ", ".join(f"{column} {a} and {b}" for column, (a, b) in contradictions.items())
                raise DatasetError(
                    f"case {row.case_id}, {row.name}: measured twice with different results, {told}; "
                    "give different cases different names"
                )
        ordered = sorted(kept.values(), key=lambda row: (row.case_id, *label_order(row.label)))
        self._rows = tuple(ordered)
        self._label_names = _names(self._rows, label_names)
        self._empties = check_empties(empties)
        self._convention = convention_of(self._rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def __repr__(self) -> str:
        return f"CaseTable({len(self.case_ids)} cases, {', '.join(self._label_names.values())})"

    @property
    def rows(self) -> tuple[CaseRow, ...]:
        """All rows by case, then classes by number, then regions."""
        return self._rows

    @property
    def label_names(self) -> Mapping[int, str]:
        """Number to name: classes, then regions (negative)."""
        return MappingProxyType(self._label_names)

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The different cases, sorted."""
        return tuple(dict.fromkeys(row.case_id for row in self._rows))

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

    def csv_text(self) -> str:
        """All rows as CSV, numbers in full."""
        stream = io.StringIO(newline="")
        write_rows(self._rows, stream)
        return stream.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Conventions, summary and rows as plain values; what is not finite is ``None``.

        The flags ``ref_empty`` and ``pred_empty`` of a row say which: a distance is infinite where one is
        true, undefined where both are.
        """
        plain = {
            "medconv": __version__,
            "conventions": {
                "surface": self._convention,
                "empties": self._empties,
                "nsd_tolerance_mm": {row.name: row.nsd_tolerance_mm for row in self._rows},
            },
            "label_names": {str(label): name for label, name in self._label_names.items()},
            "summary": self.summary().to_dict(),
            "rows": [dict(zip(COLUMNS, row.values, strict=True)) for row in self._rows],
        }
        cleaned: dict[str, Any] = _finite(plain)
        return cleaned

    def to_csv(self, path: str | os.PathLike[str]) -> Path:
        """Write all rows; the file appears whole or not at all. Returns the path."""
        return _write_whole(path, self.csv_text())

    def to_json(self, path: str | os.PathLike[str], not_measured: Mapping[str, str] | None = None) -> Path:
        """Write ``to_dict``, a line a row; the file appears whole or not at all. Returns the path.

        Args:
            path: The file.
            not_measured: What has no row and why, by name; a key of its own, left out if it is not given.
        """
        plain = self.to_dict() | ({} if not_measured is None else {"not_measured": dict(not_measured)})
        # indented, the standard library writes ten times slower
        rows = ",\n  ".join(json.dumps(row) for row in plain.pop("rows"))
        head = json.dumps(plain, indent=1).removesuffix("\n}")
        return _write_whole(path, f'{head},\n "rows": [\n  {rows}\n ]\n}}\n')

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str], empties: Empties | float = "diagonal") -> CaseTable:
        """Read a table that ``to_csv`` wrote.

        Raises:
            DatasetError: The file is absent, no such table, empty, or contradicts itself; the text names it.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as stream:
                table = cls(read_rows(stream), empties=empties)
            if not table.rows:
                raise DatasetError("expected at least one row, got none")
        except (DatasetError, OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: {error}") from None
        return table


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


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _write_whole(path: str | os.PathLike[str], text: str) -> Path:
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
