"""What every finished table can do, whatever its rows measure: keep each row once, be written, be read."""

from __future__ import annotations

import csv
import io
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from medconv import __version__
from medconv.errors import DatasetError
from medconv.metrics.row_text import RowText


class CaseLike(Protocol):
    """A row that speaks of a case."""

    @property
    def case_id(self) -> str:
        """Name of the case."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What identifies the row in its table, the case first."""


Row = TypeVar("Row", bound=CaseLike)


class RowTable(ABC, Generic[Row]):
    """Rows in a fixed order, each once; a subclass says what they measure.

    Subclasses set ``text`` (how a row stands in a file) and say what their file is headed by.

    Args:
        rows: In the order to be kept, each key once; see ``keep_once``.
    """

    __slots__ = ("_rows",)
    text: ClassVar[RowText[Any]]

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in the table's order."""
        return self._rows

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The different cases, sorted."""
        return tuple(dict.fromkeys(row.case_id for row in self._rows))

    @abstractmethod
    def of_cases(self, case_ids: Collection[str]) -> Self:
        """The part of the table that speaks of these cases."""

    @abstractmethod
    def head(self) -> dict[str, Any]:
        """Conventions and summary as plain values; what stands above the rows in a JSON file."""

    def csv_text(self) -> str:
        """All rows as CSV, numbers in full."""
        stream = io.StringIO(newline="")
        self.text.write(self._rows, stream)
        return stream.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Conventions, summary and rows as plain values; what is not finite is ``None``."""
        rows = [self.text.plain(row) for row in self._rows]
        cleaned: dict[str, Any] = _finite({"medconv": __version__, **self.head(), "rows": rows})
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
    def _read(cls, path: str | os.PathLike[str], **settings: Any) -> Self:
        """The table of a file that ``to_csv`` wrote."""
        try:
            with Path(path).open(encoding="utf-8", newline="") as stream:
                table = cls(cls.text.read(stream), **settings)
            if not table.rows:
                raise DatasetError("expected at least one row, got none")
        except (DatasetError, OSError, UnicodeDecodeError, csv.Error) as error:
            raise DatasetError(f"{path}: {error}") from None
        return table


def keep_once(rows: Iterable[Row], text: RowText[Row]) -> list[Row]:
    """Rows without repetitions, such as come from a sampler that fills up the last batch.

    Raises:
        DatasetError: A row came twice with different results; the text says where and which.
    """
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        known = kept.setdefault(row.key, row)
        if known is not row and (contradictions := text.contradictions(known, row)):
            told = ", ".join(f"{column} {a} and {b}" for column, (a, b) in contradictions.items())
            where = f"{row.case_id}, {name}" if (name := getattr(row, "name", "")) else row.case_id
            raise DatasetError(
                f"case {where}: measured twice with different results, {told}; "
                "give different cases different names"
            )
    return list(kept.values())


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
