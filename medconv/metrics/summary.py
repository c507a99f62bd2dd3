"""From rows to the numbers that are reported, with every empty structure counted in the open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from math import fsum, isnan, nan
from statistics import median
from typing import Any, Literal, get_args

from medconv.errors import ConfigError
from medconv.metrics.rows import CaseRow
from medconv.metrics.surface import CONVENTION

Empties = Literal["diagonal", "inf", "nan"]
"""What a structure found on one side only contributes to the means of distances."""


@dataclass(frozen=True)
class LabelSummary:
    """One class over all cases. ``n = n_valid + n_missed + n_false_positive + n_both_empty``.

    Args:
        label: Number of the class.
        name: Its name.
        n: Cases.
        n_valid: Cases with the structure on both sides.
        n_missed: In the reference, not predicted.
        n_false_positive: Predicted, not in the reference.
        n_both_empty: On neither side; they count in no mean.
        mean_dice: Over all cases but those of ``n_both_empty``; nan if there are none.
        median_dice: Likewise, as all that follow.
        mean_hd_mm: Under the summary's policy for empties.
        median_hd_mm: Likewise.
        mean_hd95_mm: Likewise.
        median_hd95_mm: Likewise.
    """

    label: int
    name: str
    n: int
    n_valid: int
    n_missed: int
    n_false_positive: int
    n_both_empty: int
    mean_dice: float
    median_dice: float
    mean_hd_mm: float
    median_hd_mm: float
    mean_hd95_mm: float
    median_hd95_mm: float


@dataclass(frozen=True)
class Summary:
    """Every class, and the mean over the classes that have a value at all.

    The overall means are *class-first*: cases are averaged within each class, then the classes (nnU-Net's
    way). Averaging within cases first gives another number wherever a case lacks a class.

    Args:
        labels: One entry a class.
        n_cases: Different cases in the table.
        class_first_mean_dice: Mean of the classes' ``mean_dice``; nan if no class has one.
        class_first_mean_hd_mm: Likewise.
        class_first_mean_hd95_mm: Likewise.
        empties: The policy for structures on one side only: their Dice is 0, their distance is the image's
            diagonal (``"diagonal"``), infinite (``"inf"``) or left out (``"nan"``).
        convention: How distances were measured.
    """

    labels: tuple[LabelSummary, ...]
    n_cases: int
    class_first_mean_dice: float
    class_first_mean_hd_mm: float
    class_first_mean_hd95_mm: float
    empties: Empties
    convention: str = CONVENTION

    def to_dict(self) -> dict[str, Any]:
        """Plain values (dicts, lists, numbers, text), as a checkpoint or a JSON file holds them."""
        return asdict(self) | {"labels": [asdict(label) for label in self.labels]}


def summarise(rows: Iterable[CaseRow], empties: Empties = "diagonal") -> Summary:
    """Summarise rows; their order is of no consequence.

    Raises:
        ConfigError: An unknown policy for empties.
    """
    if empties not in get_args(Empties):
        raise ConfigError(f"expected empties one of {', '.join(get_args(Empties))}, got {empties!r}")
    ordered = sorted(rows, key=lambda row: (row.label, row.case_id))
    labels = tuple(_summarise_label(list(g), empties) for _, g in groupby(ordered, key=lambda row: row.label))
    return Summary(
        labels=labels,
        n_cases=len({row.case_id for row in ordered}),
        class_first_mean_dice=_mean([s.mean_dice for s in labels]),
        class_first_mean_hd_mm=_mean([s.mean_hd_mm for s in labels]),
        class_first_mean_hd95_mm=_mean([s.mean_hd95_mm for s in labels]),
        empties=empties,
    )


def _summarise_label(rows: Sequence[CaseRow], empties: Empties) -> LabelSummary:
    dice = [row.dice for row in rows]
    hd_mm = [_with_policy(row, row.hd_mm, empties) for row in rows]
    hd95_mm = [_with_policy(row, row.hd95_mm, empties) for row in rows]
    return LabelSummary(
        label=rows[0].label,
        name=rows[0].name,
        n=len(rows),
        n_valid=sum(not row.ref_empty and not row.pred_empty for row in rows),
        n_missed=sum(row.pred_empty and not row.ref_empty for row in rows),
        n_false_positive=sum(row.ref_empty and not row.pred_empty for row in rows),
        n_both_empty=sum(row.ref_empty and row.pred_empty for row in rows),
        mean_dice=_mean(dice),
        median_dice=_median(dice),
        mean_hd_mm=_mean(hd_mm),
        median_hd_mm=_median(hd_mm),
        mean_hd95_mm=_mean(hd95_mm),
        median_hd95_mm=_median(hd95_mm),
    )


def _with_policy(row: CaseRow, distance_mm: float, empties: Empties) -> float:
    if row.ref_empty == row.pred_empty:
        return distance_mm
    return {"diagonal": row.diagonal_mm, "inf": distance_mm, "nan": nan}[empties]


def _of_known(statistic: Callable[[list[float]], float], values: Iterable[float]) -> float:
    known = [v for v in values if not isnan(v)]
    return float(statistic(known)) if known else nan


def _mean(values: Iterable[float]) -> float:
    # fsum rounds once, so neither the order of cases nor the number of processes can show in the last digit
    return _of_known(lambda known: fsum(known) / len(known), values)


def _median(values: Iterable[float]) -> float:
    return _of_known(median, values)
