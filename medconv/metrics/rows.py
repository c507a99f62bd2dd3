"""One measured structure: the row of every table, and its form in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields
from math import isclose, isnan, nan
from operator import attrgetter
from typing import Any, TextIO

from medconv.errors import DatasetError
from medconv.metrics.convention import SurfaceConvention


@dataclass(frozen=True)
class CaseRow:
    """What was measured for one structure in one case; plain values, so that it travels anywhere.

    Where one side is empty ``dice``, ``iou`` and ``nsd`` are 0 and the distances are infinite; where both
    are, all of them are nan. What an empty side means for a mean is decided in the summary, so a stored
    table can be summarised anew. A figure that has a default is nan where nobody measured it: in tables
    written before it was, and ``nsd`` of a structure without a tolerance.

    Args:
        case_id: Name of the case.
        label: Number of the structure in the label map.
        name: Its name.
        dice: 0 to 1.
        hd_mm: Hausdorff distance.
        hd95_mm: Larger of the two directed 95th percentiles.
        ref_empty: The reference has no voxel of this label.
        pred_empty: The prediction has none.
        ref_volume_ml: Volume in the reference; nan for 2-D images.
        pred_volume_ml: Volume in the prediction; nan for 2-D images.
        diagonal_mm: Between the centres of opposite corner voxels of the image, the longest distance in it.
        iou: Intersection over union, 0 to 1.
        sensitivity: Share of the reference that was found; nan if the reference is empty.
        precision: Share of the prediction that is right; nan if the prediction is empty.
        volume_difference_ml: Prediction minus reference; nan for 2-D images.
        assd_mm: Mean distance over the surface voxels of both sides together.
        masd_mm: Mean of the two directed mean distances.
        nsd: Share of both surfaces within ``nsd_tolerance_mm`` of the other, 0 to 1.
        nsd_tolerance_mm: Tolerance of ``nsd``; nan if the structure has none.
        tp_voxels: Voxels of the structure on both sides; -1 where nobody counted, as all that follow.
        ref_voxels: In the reference.
        pred_voxels: In the prediction.
        image_voxels: In the image.
        spacing_mm: Voxel edge lengths of the image; empty where nobody noted them.
        convention: How distances were measured, as ``SurfaceConvention.short`` says it.
    """

    case_id: str
    label: int
    name: str
    dice: float
    hd_mm: float
    hd95_mm: float
    ref_empty: bool
    pred_empty: bool
    ref_volume_ml: float
    pred_volume_ml: float
    diagonal_mm: float
    iou: float = nan
    sensitivity: float = nan
    precision: float = nan
    volume_difference_ml: float = nan
    assd_mm: float = nan
    masd_mm: float = nan
    nsd: float = nan
    nsd_tolerance_mm: float = nan
    tp_voxels: int = -1
    ref_voxels: int = -1
    pred_voxels: int = -1
    image_voxels: int = -1
    spacing_mm: tuple[float, ...] = ()
    convention: str = SurfaceConvention().short

    @property
    def key(self) -> tuple[str, int]:
        """What identifies a row: case and label."""
        return self.case_id, self.label

    @property
    def values(self) -> tuple[Any, ...]:
        """All columns, in the order of ``COLUMNS``."""
        return _values_of(self)

    def agrees_with(self, other: CaseRow) -> bool:
        """Whether both hold the same measurement, to a millionth."""
        return not self.contradictions(other)

    def contradictions(self, other: CaseRow) -> dict[str, tuple[Any, Any]]:
        """The columns in which both differ, each with the two values.

        Example:
            >>> sizes = (4.0, 1.5, False, False, 2.0, 2.1, 50.0)
            >>> CaseRow("a", 1, "organ", 0.9, *sizes).contradictions(CaseRow("a", 1, "organ", 0.8, *sizes))
            {'dice': (0.9, 0.8)}
        """
        pairs = zip(COLUMNS, self.values, other.values, strict=True)
        return {column: (a, b) for column, a, b in pairs if not _same(a, b)}


COLUMNS = tuple(field.name for field in fields(CaseRow))

_values_of: Callable[[CaseRow], tuple[Any, ...]] = attrgetter(*COLUMNS)

_NEEDED = tuple(field.name for field in fields(CaseRow) if field.default is MISSING)


def write_rows(rows: Iterable[CaseRow], stream: TextIO, *, has_header: bool = True) -> None:
    """Write rows as CSV; numbers in full, so that reading gives them back exactly."""
    writer = csv.writer(stream, lineterminator="\n")
    if has_header:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_format(value) for value in row.values])


def _format(value: Any) -> Any:
    if isinstance(value, tuple):
        return " ".join(map(repr, value))
    return repr(value) if isinstance(value, float) else value


def read_rows(stream: TextIO) -> Iterator[CaseRow]:
    """Read what ``write_rows`` wrote; columns may come in any order and others may stand beside them.

    A table of an earlier version lacks some columns: those that have a default in ``CaseRow`` take it.

    Raises:
        DatasetError: Any other column is missing, or a value cannot be read; the text names line and column.
    """
    reader = csv.DictReader(stream)
    present = reader.fieldnames or ()
    missing = [c for c in _NEEDED if c not in present]
    if missing:
        raise DatasetError(_lacking(missing))
    known = [c for c in COLUMNS if c in present]
    for record in reader:
        values = {name: _parse(name, record[name], reader.line_num) for name in known}
        yield CaseRow(**values)


def _lacking(missing: Sequence[str]) -> str:
    if len(missing) == len(_NEEDED):
        return f"expected a table.csv of medconv, with the columns {', '.join(_NEEDED)}; it has none of them"
    return f"expected a table.csv of medconv; missing columns: {', '.join(missing)}"


def _parse(name: str, text: str | None, line: int) -> Any:
    kind = CaseRow.__annotations__[name]
    try:
        if kind == "bool":
            return {"True": True, "False": False}[str(text)]
        if kind.startswith("tuple"):
            return tuple(map(float, (text or "").split()))
        return {"str": str, "int": int, "float": float}[kind](text or "")
    except (KeyError, ValueError):
        raise DatasetError(f"line {line}, column {name}: expected {kind}, got {text!r}") from None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return (isnan(a) and isnan(b)) or isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    return bool(a == b)
