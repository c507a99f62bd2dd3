"""Tables for the screen: aligned columns of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

from medconv.lengths import ShownUnit, length_in
from medconv.metrics import Empties, LabelSummary, Summary
from medconv.metrics.length_unit import factor_in, title_in
from medconv.metrics.scores import check_scores, known_score

_EMPTIES = {
    "diagonal": "Dice 0 and the image's diagonal as distance",
    "inf": "Dice 0 and an infinite distance",
    "nan": "Dice 0, and no part in the means of distances",
}


def describe_empties(empties: Empties | float) -> str:
    """What a structure on one side only counts for, in words.

    Example:
        >>> describe_empties(374)
        'Dice 0 and 374 mm as distance'
    """
    if isinstance(empties, str):
        return _EMPTIES[empties]
    return f"Dice 0 and {empties:g} mm as distance"


def describe_tolerances(tolerances_mm: Mapping[str, float], unit: ShownUnit = "mm") -> str:
    """The tolerances of NSD in words; nothing where there is none.

    Example:
        >>> describe_tolerances({"head": 1.0, "tail": 1.0}), describe_tolerances({"head": 1.0, "tail": 2.0})
        ('1 mm', '1 mm (head), 2 mm (tail)')
    """
    if len(set(tolerances_mm.values())) == 1:
        return length_in(next(iter(tolerances_mm.values())), unit)
    return ", ".join(f"{length_in(mm, unit)} ({name})" for name, mm in tolerances_mm.items())


def describe_lack_of_surface(summary: Summary) -> list[str]:
    """How often a structure has no surface because the edge of the image is ignored; nothing where none is so."""
    number = sum(entry.n_without_surface for entry in summary.labels)
    if not number:
        return []
    return [
        f"No surface inside the image in {number} of {sum(entry.n_valid for entry in summary.labels)} structures: "
        "on one side, distances count as above; on both, they are left out."
    ]


def describe_ignored(summary: Summary) -> list[str]:
    """What became of voxels that nobody labelled; nothing where there are none."""
    if not summary.n_ignoring:
        return []
    return [
        f"In {summary.n_ignoring} of {summary.n_cases} cases ignored voxels: in no figure, and where a structure "
        "borders on them it has no surface."
    ]


def format_table(rows: Sequence[Sequence[Any]], headers: Sequence[str]) -> str:
    """Rows under headers: text to the left, numbers to the right, a line below the head.

    Numbers are shown as they are given; format them first where digits matter.

    Raises:
        ValueError: A row has another length than the headers.

    Example:
        >>> print(format_table([["head", "0.91", 3], ["tail", "0.9", 12]], ["class", "Dice", "cases"]))
        class  Dice  cases
        ------------------
        head   0.91      3
        tail    0.9     12
    """
    cells = [[str(cell) for cell in row] for row in [headers, *rows]]
    if any(len(row) != len(headers) for row in cells):
        raise ValueError(
            f"expected rows of {len(headers)} cells like the headers, got {[len(r) for r in cells]}"
        )
    columns = list(zip(*cells, strict=True))
    numeric = [any(column[1:]) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([lines[0], rule, *lines[1:]])


def format_summary(summary: Summary) -> str:
    """The summary of a ``SegmentationTable`` as text: each class, the mean over classes, the conventions.

    Example:
        >>> from medconv.metrics import CaseRow, summarise
        >>> row = CaseRow("a", 1, "head", 0.9, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)
        >>> print(format_summary(summarise([row])).splitlines()[0])
        class  Dice    NSD  HD95 mm  HD mm  ASSD mm  cases  missed  false positive  in neither
    """
    # where nobody knows how large a pixel is, there are no distances to have a unit
    has_distances = _is_known(summary, "hd_mm")
    known = [score.name for score in _SCORES if score.name == "dice" or has_distances]
    headers = ["class", *(title_in(name, summary.unit) for name in known), *_COUNTS.values()]
    rows = [_label_row(label, known, summary.unit) for label in summary.labels]
    counts = (sum(getattr(entry, name) for entry in summary.labels) for name in list(_COUNTS)[1:])
    mean = [
        "mean",
        *(_number(summary.class_first[name], name, summary.unit) for name in known),
        str(summary.n_cases),
        *map(str, counts),
    ]
    return "\n".join([format_table([*rows, mean], headers), "", *_conventions(summary)])


_SCORES = check_scores(("dice", "nsd", "hd95_mm", "hd_mm", "assd_mm"))
_COUNTS = {
    "n": "cases",
    "n_missed": "missed",
    "n_false_positive": "false positive",
    "n_both_empty": "in neither",
}


def _is_known(summary: Summary, name: str) -> bool:
    return any(not isnan(label.scores[name].mean) for label in summary.labels)


def _label_row(label: LabelSummary, known: Sequence[str], unit: ShownUnit) -> list[str]:
    return [
        label.name,
        *(_number(label.scores[name].mean, name, unit) for name in known),
        *(str(getattr(label, name)) for name in _COUNTS),
    ]


def _conventions(summary: Summary) -> list[str]:
    tolerances = describe_tolerances(summary.nsd_tolerances_mm, summary.unit) or "a tolerance of each case"
    has_nsd, has_distances = _is_known(summary, "nsd"), _is_known(summary, "hd_mm")
    return [
        "Means over cases; the last line is the mean over classes. A structure on one side only (missed or",
        f"false positive) counts with {describe_empties(summary.empties)}; one in neither is left out.",
        *([f"NSD: share of both surfaces within {tolerances} of each other."] if has_nsd else []),
        f"Distances: {summary.convention}." if has_distances else "No distances were measured.",
        *describe_lack_of_surface(summary),
        *describe_ignored(summary),
    ]


def _number(value: float, name: str, unit: ShownUnit) -> str:
    return "-" if isnan(value) else f"{value * factor_in(name, unit):.{known_score(name).digits}f}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell == "-"
    return True
