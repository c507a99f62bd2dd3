"""From rows to the numbers that are reported, with every empty structure counted in the open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from math import fsum, inf, isfinite, isnan, nan, sqrt
from statistics import median
from typing import Any

from medconv.errors import DatasetError
from medconv.lengths import ShownUnit, shown_unit
from medconv.metrics.convention import CONVENTION, SurfaceConvention
from medconv.metrics.rows import CaseRow
from medconv.metrics.scores import SCORES, Empties, check_empties, score_of


@dataclass(frozen=True)
class Spread:
    """A score over the cases that have a value; nan where none has.

    Args:
        mean: Arithmetic mean.
        median: Middle value.
        sd: Standard deviation of the cases (n - 1); nan for a single one.
    """

    mean: float
    median: float
    sd: float


@dataclass(frozen=True)
class LabelSummary:
    """One class or region over all cases. ``n = n_valid + n_missed + n_false_positive + n_both_empty``.

    Args:
        label: Number of the class; regions are -1, -2 and so on.
        name: Its name.
        n: Cases.
        n_valid: Cases with the structure on both sides.
        n_missed: In the reference, not predicted.
        n_false_positive: Predicted, not in the reference.
        n_both_empty: On neither side; they count in no mean.
        n_without_surface: Of the valid ones, those in which a side has no surface inside the image, which only
            ``edge="ignore"`` and ignored voxels allow. If only one lacks it, distances are infinite and the policy
            for empties applies; if both do, distances are undefined and left out.
        scores: Every score of ``SCORES`` over all cases but those of ``n_both_empty``, distances under the
            summary's policy for empties.
    """

    label: int
    name: str
    n: int
    n_valid: int
    n_missed: int
    n_false_positive: int
    n_both_empty: int
    n_without_surface: int
    scores: Mapping[str, Spread]

    @property
    def mean_dice(self) -> float:
        """Mean Dice over the cases."""
        return self.scores["dice"].mean

    @property
    def median_dice(self) -> float:
        """Median Dice over the cases."""
        return self.scores["dice"].median

    @property
    def mean_hd_mm(self) -> float:
        """Mean Hausdorff distance."""
        return self.scores["hd_mm"].mean

    @property
    def median_hd_mm(self) -> float:
        """Median Hausdorff distance."""
        return self.scores["hd_mm"].median

    @property
    def mean_hd95_mm(self) -> float:
        """Mean of the 95th percentiles."""
        return self.scores["hd95_mm"].mean

    @property
    def median_hd95_mm(self) -> float:
        """Median of the 95th percentiles."""
        return self.scores["hd95_mm"].median

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the scores as ``mean_dice``, ``median_dice``, ``sd_dice`` and so on."""
        plain = {k: v for k, v in asdict(self).items() if k != "scores"}
        for name, spread in self.scores.items():
            plain |= {f"{kind}_{name}": value for kind, value in asdict(spread).items()}
        return plain


@dataclass(frozen=True)
class Summary:
    """Every class, and two means over all of them.

    *Class-first*: cases are averaged within each class, then the classes that have a value (nnU-Net's way).
    *Case-first*: classes are averaged within each case, then the cases (MONAI's way). They differ wherever a
    case lacks a class. Regions have their own entries and are part of no mean, unless nothing but regions was
    measured.

    Args:
        labels: One entry a class, then one a region.
        n_cases: Different cases in the table.
        class_first: Class-first mean of every score; nan if no class has one.
        case_first: Case-first mean of every score.
        empties: The policy for structures on one side only: their Dice is 0, their distance is the image's
            diagonal (``"diagonal"``), infinite (``"inf"``), left out (``"nan"``) or a number of mm.
        convention: How distances were measured.
        nsd_tolerances_mm: Tolerance of NSD by name of structure; those without one are absent, and so are those whose
            cases have different ones.
        n_ignoring: Cases with voxels that their reference says nothing about.
        finest_mm: Shortest voxel edge of any case; nan where nobody knows one.
    """

    labels: tuple[LabelSummary, ...]
    n_cases: int
    class_first: Mapping[str, float]
    case_first: Mapping[str, float]
    empties: Empties | float
    convention: str
    nsd_tolerances_mm: Mapping[str, float] = field(default_factory=dict)
    n_ignoring: int = 0
    finest_mm: float = nan

    @property
    def unit(self) -> ShownUnit:
        """What lengths are told in."""
        return shown_unit(self.finest_mm)

    @property
    def class_first_mean_dice(self) -> float:
        """Mean of the classes' mean Dice."""
        return self.class_first["dice"]

    @property
    def class_first_mean_hd_mm(self) -> float:
        """Mean of the classes' mean Hausdorff distance."""
        return self.class_first["hd_mm"]

    @property
    def class_first_mean_hd95_mm(self) -> float:
        """Mean of the classes' mean 95th percentile."""
        return self.class_first["hd95_mm"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values (dicts, lists, numbers, text), as a checkpoint or a JSON file holds them."""
        return {
            "n_cases": self.n_cases,
            "empties": self.empties,
            "convention": self.convention,
            "n_ignoring": self.n_ignoring,
            **{f"class_first_mean_{name}": value for name, value in self.class_first.items()},
            **{f"case_first_mean_{name}": value for name, value in self.case_first.items()},
            "labels": [label.to_dict() for label in self.labels],
        }


def summarise(rows: Iterable[CaseRow], empties: Empties | float = "diagonal") -> Summary:
    """Summarise rows; their order is of no consequence.

    Args:
        rows: At most one a case and label.
        empties: See ``Summary.empties``.

    Raises:
        ConfigError: An unknown policy for empties.
        DatasetError: The rows were measured by different conventions.

    Example:
        >>> rows = [CaseRow(c, k, "x", d, 1, 1, False, False, 1, 1, 9) for c, k, d in (
        ...     ("a", 1, 0.9), ("a", 2, 0.8), ("b", 1, 0.5))]
        >>> summary = summarise(rows)
        >>> round(summary.class_first["dice"], 3), round(summary.case_first["dice"], 3)
        (0.75, 0.675)
    """
    check_empties(empties)
    ordered = sorted(rows, key=lambda row: (*label_order(row.label), row.case_id))
    # where no row of the table has a distance, surfaces were not measured
    measured = any(not isnan(row.hd_mm) for row in ordered)
    labels = tuple(
        _summarise_label(list(g), empties, measured) for _, g in groupby(ordered, key=lambda row: row.label)
    )
    counted = in_the_mean([entry.label for entry in labels])
    return Summary(
        labels=labels,
        n_cases=len({row.case_id for row in ordered}),
        class_first={
            name: mean(entry.scores[name].mean for entry in labels if entry.label in counted)
            for name in SCORES
        },
        case_first={
            name: mean(case_means([row for row in ordered if row.label in counted], name, empties).values())
            for name in SCORES
        },
        empties=empties,
        convention=convention_of(ordered),
        nsd_tolerances_mm=common_tolerances(ordered),
        n_ignoring=len({row.case_id for row in ordered if row.ignored_voxels}),
        finest_mm=min((min(row.spacing_mm) for row in ordered if row.spacing_mm), default=nan),
    )


def common_tolerances(rows: Iterable[CaseRow]) -> dict[str, float]:
    """The tolerance of NSD by name of structure, where all its cases have the same."""
    found: dict[str, set[float]] = {}
    for row in rows:
        if not isnan(row.nsd_tolerance_mm):
            found.setdefault(row.name, set()).add(row.nsd_tolerance_mm)
    return {name: next(iter(values)) for name, values in found.items() if len(values) == 1}


def convention_of(rows: Sequence[CaseRow]) -> str:
    """How the distances of rows were measured, in words.

    Raises:
        DatasetError: The rows were measured by different conventions.
    """
    found = sorted({row.convention for row in rows})
    if len(found) > 1:
        raise DatasetError(
            f"expected rows of one convention, got {' and '.join(map(repr, found))}; figures of different "
            "conventions cannot stand in one table"
        )
    return SurfaceConvention.from_short(found[0]).describe() if found else CONVENTION


def in_the_mean(labels: Iterable[int]) -> set[int]:
    """The labels over which overall means are taken: the classes, or the regions where there is no class."""
    every = set(labels)
    return {label for label in every if label > 0} or every


def label_order(label: int) -> tuple[bool, int]:
    """Sorts classes by number, then regions as they were declared."""
    return label < 0, abs(label)


def case_means(rows: Iterable[CaseRow], score: str, empties: Empties | float) -> dict[str, float]:
    """The mean over the labels of each case; nan where a case has no value."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row.case_id, []).append(score_of(row, score, empties))
    return {case_id: mean(own) for case_id, own in values.items()}


def _summarise_label(rows: Sequence[CaseRow], empties: Empties | float, measured: bool) -> LabelSummary:
    present = [row for row in rows if not (row.ref_empty and row.pred_empty)]
    return LabelSummary(
        label=rows[0].label,
        name=rows[0].name,
        n=len(rows),
        n_valid=sum(not row.ref_empty and not row.pred_empty for row in rows),
        n_missed=sum(row.pred_empty and not row.ref_empty for row in rows),
        n_false_positive=sum(row.ref_empty and not row.pred_empty for row in rows),
        n_both_empty=len(rows) - len(present),
        n_without_surface=_count_without_surface(rows) if measured else 0,
        scores={name: _spread([score_of(row, name, empties) for row in present]) for name in SCORES},
    )


def _count_without_surface(rows: Sequence[CaseRow]) -> int:
    return sum(not isfinite(row.hd_mm) for row in rows if not row.ref_empty and not row.pred_empty)


def _spread(values: Sequence[float]) -> Spread:
    return Spread(mean(values), _of_known(median, values), _of_known(_deviation, values))


def mean(values: Iterable[float]) -> float:
    """The mean of the values that are not nan; nan if there is none."""
    # fsum rounds once, so neither the order of cases nor the number of processes can show in the last digit
    return _of_known(lambda known: fsum(known) / len(known), values)


def _deviation(known: list[float]) -> float:
    if len(known) < 2 or inf in known:
        return nan
    centre = fsum(known) / len(known)
    return sqrt(fsum((v - centre) ** 2 for v in known) / (len(known) - 1))


def _of_known(statistic: Callable[[list[float]], float], values: Iterable[float]) -> float:
    known = [v for v in values if not isnan(v)]
    return float(statistic(known)) if known else nan
