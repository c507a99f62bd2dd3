"""How rows of any kind stand in a CSV file: one column a field, numbers in full."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from math import isclose, isnan
from operator import attrgetter
from typing import Any, Generic, TextIO, TypeVar

from medconv.errors import DatasetError

Row = TypeVar("Row")

_KINDS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda text: {"True": True, "False": False}[text],
    "tuple[int, ...]": lambda text: tuple(map(int, text.split())),
    "tuple[float, ...]": lambda text: tuple(map(float, text.split())),
}


class RowText(Generic[Row]):
    """Writes, reads and compares rows of one kind.

    Args:
        kind: A frozen dataclass whose fields are text, numbers, truth values, or tuples of numbers. Fields without a
            default must be in every file.
        derived: Figures that follow from the fields, by their column: written after them for people and other
            programs, and never read. One that is a field already is not written twice.
    """

    def __init__(self, kind: type[Row], derived: Mapping[str, Callable[[Row], Any]] | None = None) -> None:
        own = fields(kind)  # type: ignore[arg-type]
        self.kind = kind
        self.columns = tuple(field.name for field in own)
        self._derived = {n: figure for n, figure in (derived or {}).items() if n not in self.columns}
        self._needed = [field.name for field in own if field.default is MISSING]
        self._types = {field.name: str(field.type) for field in own}
        self._values_of: Callable[[Row], tuple[Any, ...]] = attrgetter(*self.columns)

    @property
    def all_columns(self) -> tuple[str, ...]:
        """The fields, then what follows from them."""
        return (*self.columns, *self._derived)

    def values(self, row: Row) -> tuple[Any, ...]:
        """The fields, in the order of ``columns``."""
        return self._values_of(row)

    def plain(self, row: Row) -> dict[str, Any]:
        """Every column with its value, derived ones too."""
        own = dict(zip(self.columns, self.values(row), strict=True))
        return own | {name: figure(row) for name, figure in self._derived.items()}

    def write(self, rows: Iterable[Row], stream: TextIO, *, has_header: bool = True) -> None:
        """Write rows as CSV; numbers in full, so that reading gives them back exactly."""
        writer = csv.writer(stream, lineterminator="\n")
        if has_header:
            writer.writerow(self.all_columns)
        for row in rows:
            derived = (figure(row) for figure in self._derived.values())
            writer.writerow([_format(value) for value in (*self.values(row), *derived)])

    def read(self, stream: TextIO) -> Iterator[Row]:
        """Read what ``write`` wrote; columns may come in any order and others may stand beside them.

        A table of an earlier version lacks some columns: those that have a default take it.

        Raises:
            DatasetError: Any other column is missing, or a value cannot be read; the text names line and column.
        """
        reader = csv.DictReader(stream)
        present = reader.fieldnames or ()
        missing = [c for c in self._needed if c not in present]
        if missing:
            raise DatasetError(self._lacking(missing))
        known = [c for c in self.columns if c in present]
        for record in reader:
            yield self.kind(**{name: self._parse(name, record[name], reader.line_num) for name in known})

    def contradictions(self, first: Row, second: Row) -> dict[str, tuple[Any, Any]]:
        """The columns in which two rows differ by more than a millionth, each with the two values."""
        pairs = zip(self.columns, self.values(first), self.values(second), strict=True)
        return {column: (a, b) for column, a, b in pairs if not _same(a, b)}

    def _lacking(self, missing: list[str]) -> str:
        if len(missing) == len(self._needed):
            return (
                f"expected a table.csv of medconv, with the columns {', '.join(self._needed)}; "
                "it has none of them"
            )
        return f"expected a table.csv of medconv; missing columns: {', '.join(missing)}"

    def _parse(self, name: str, text: str | None, line: int) -> Any:
        kind = self._types[name]
        try:
            return _KINDS[kind]("" if text is None else text)
        except (KeyError, ValueError):
            raise DatasetError(f"line {line}, column {name}: expected {kind}, got {text!r}") from None


def _format(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(repr, value))
    return repr(value) if isinstance(value, float) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (isnan(a) and isnan(b)) or isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)
