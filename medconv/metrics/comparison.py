"""Two or more tables of the same cases compared, with a correction for every question that is asked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any, ClassVar, Literal, Protocol

from medconv.errors import ConfigError, DatasetError
from medconv.lengths import length_in, shown_unit
from medconv.metrics.case_table import CaseTable
from medconv.metrics.paired import PairedComparison, compare_paired, holm
from medconv.metrics.scores import Empties, Score, check_empties, check_scores, known_score

_SIGNIFICANT = 0.05
_SHOWN_CASES = 10

Verdict = Literal["better", "worse", "equivalent", "no difference shown"]


class ComparableTable(Protocol):
    """What a table must tell to be compared with another of its kind.

    Its class says which ``scores`` it has, and which of them are ``compared`` unless others are named.
    """

    scores: ClassVar[Mapping[str, Score]]
    compared: ClassVar[tuple[str, ...]]

    @property
    def case_ids(self) -> tuple[str, ...]:
        """The different cases, sorted."""

    @property
    def label_names(self) -> Mapping[int, str]:
        """Number to name of what was measured."""

    @property
    def convention(self) -> str:
        """How it was measured, in words."""

    def columns(self, score: str, empties: Empties | float) -> dict[int, dict[str, float]]:
        """A score case by case, of each structure by its number; under 0 the mean over structures."""


@dataclass(frozen=True)
class TableDifference:
    """One question of a comparison: one score of one structure, the baseline against another table.

    Args:
        baseline: Name of the first table.
        other: Name of the table compared with it.
        label: Number of the structure; 0 for the mean over all structures of a case.
        name: Name of the structure.
        score: Name of the score.
        paired: The differences, other minus baseline.
        p_permutation_holm: Adjusted over all questions of the comparison.
        p_wilcoxon_holm: Likewise.
        p_equivalence_holm: Likewise, over the questions that have a margin.
    """

    baseline: str
    other: str
    label: int
    name: str
    score: str
    paired: PairedComparison
    p_permutation_holm: float
    p_wilcoxon_holm: float
    p_equivalence_holm: float

    @property
    def verdict(self) -> Verdict:
        """What the other table is beside the baseline, at 5 % after Holm's correction.

        By the permutation test of the mean; ``"equivalent"`` where no difference but equivalence within the
        margin is shown.
        """
        if self.p_permutation_holm < _SIGNIFICANT:
            is_higher = self.paired.mean_difference > 0
            return "better" if is_higher == known_score(self.score).higher_is_better else "worse"
        return "equivalent" if self.is_within_margin else "no difference shown"

    @property
    def is_within_margin(self) -> bool:
        """Whether equivalence within the margin is shown, at 5 % after Holm's correction, whatever the verdict."""
        return self.p_equivalence_holm < _SIGNIFICANT

    def to_dict(self) -> dict[str, Any]:
        """Plain values in one level, for CSV and JSON."""
        own = {k: v for k, v in asdict(self).items() if k != "paired"}
        head = {k: own.pop(k) for k in ("baseline", "other", "label", "name", "score")}
        return head | asdict(self.paired) | own | {"verdict": self.verdict}


def compare_tables(
    tables: Mapping[str, ComparableTable],
    scores: Collection[str] | None = None,
    margins: Mapping[str, float] | None = None,
    empties: Empties | float = "diagonal",
    seed: int = 0,
) -> tuple[TableDifference, ...]:
    """Compare the first table with every other one, case by case.

    A case in which either table has no value for a structure (it is in neither map, or the policy leaves it
    out) is omitted from that question and counted. Use it to ask whether a change helped; decide the scores
    and margins before looking.

    Args:
        tables: Name to table, the baseline first; all of one kind, and of the same cases and structures.
        scores: Names of the table's ``scores``; ``None`` takes those of its ``compared``.
        margins: Largest difference of no importance by score, for a test of equivalence.
        empties: What a distance is where one side is empty; ``"inf"`` has no differences and is refused.
        seed: Of bootstrap and permutations.

    Raises:
        ConfigError: Fewer than two tables, no score, infinite or unknown empties, or a margin of another score.
        UnknownNameError: There is no such score.
        DatasetError: The tables differ in kind, cases, structures, convention or tolerance; the text names them.

    Returns:
        One entry a table, structure and score, the mean over structures first.

    Cost: about 20 ms a question for 200 cases.

    Example:
        >>> from medconv.metrics import CaseRow
        >>> def table(*dice):
        ...     return CaseTable(CaseRow(f"case_{i}", 1, "x", d, 1, 1, False, False, 1, 1, 9)
        ...                      for i, d in enumerate(dice))
        >>> before, after = table(.7, .8, .6, .9, .8, .7), table(.8, .9, .7, .95, .9, .8)
        >>> overall, x = compare_tables({"before": before, "after": after}, scores=["dice"])
        >>> x.name, round(x.paired.mean_difference, 3), x.paired.p_permutation, x.p_permutation_holm
        ('x', 0.092, 0.03125, 0.0625)
    """
    margins = dict(margins or {})
    (base_name, base), *others = _at_least_two(tables, scores)
    chosen = check_scores(base.compared if scores is None else scores, base.scores)
    scores = [score.name for score in chosen]
    empties = check_empties(empties)
    if empties == "inf":
        raise ConfigError(
            "expected empties with finite distances (diagonal, nan or a number of mm), got 'inf'"
        )
    if stray := sorted(set(margins) - set(scores)):
        raise ConfigError(f"margins for {', '.join(stray)}, but compared are {', '.join(scores)}")
    for name, table in others:
        _require_same(base_name, base, name, table, scores)
    found = [
        (name, label, score.name, compare_paired(before, after, margins.get(score.name), seed))
        for name, table in others
        for score in chosen
        for label, before, after in _columns(base, table, score.name, empties)
    ]
    return _adjusted(found, base_name, base.label_names)


def _at_least_two(
    tables: Mapping[str, ComparableTable], scores: Collection[str] | None
) -> list[tuple[str, ComparableTable]]:
    if len(tables) < 2 or (scores is not None and not scores):
        named = [] if scores is None else list(scores)
        raise ConfigError(f"expected two tables and a score at least, got {list(tables)} and {named}")
    return list(tables.items())


def _columns(
    base: ComparableTable, other: ComparableTable, score: str, empties: Empties | float
) -> Iterable[tuple[int, list[float], list[float]]]:
    """For the mean over structures (0) and each structure: both columns, case by case."""
    after = other.columns(score, empties)
    for label, own in base.columns(score, empties).items():
        before, later = ([side.get(c, nan) for c in base.case_ids] for side in (own, after[label]))
        yield label, before, later


def _adjusted(
    found: Sequence[tuple[str, int, str, PairedComparison]], baseline: str, names: Mapping[int, str]
) -> tuple[TableDifference, ...]:
    tests = ("p_permutation", "p_wilcoxon", "p_equivalence")
    adjusted = {test: holm([getattr(paired, test) for *_, paired in found]) for test in tests}
    return tuple(
        TableDifference(
            baseline,
            other,
            label,
            names.get(label, "mean over structures"),
            score,
            paired,
            *(float(adjusted[test][place]) for test in tests),
        )
        for place, (other, label, score, paired) in enumerate(found)
    )


def _require_same(
    base_name: str, base: ComparableTable, name: str, table: ComparableTable, scores: Collection[str]
) -> None:
    if type(base) is not type(table):
        raise DatasetError(
            f"expected tables of one kind, {base_name} is a {type(base).__name__}, {name} a {type(table).__name__}"
        )
    if base.label_names != table.label_names:
        raise DatasetError(
            f"expected the same structures in both tables, {base_name} has {base.label_names}, "
            f"{name} has {table.label_names}"
        )
    if base.convention != table.convention:
        raise DatasetError(
            f"expected distances of one convention in both tables, {base_name} has '{base.convention}', "
            f"{name} has '{table.convention}'"
        )
    missing = [(base_name, set(table.case_ids) - set(base.case_ids))]
    missing.append((name, set(base.case_ids) - set(table.case_ids)))
    told = [f"not in {where}: {_listed(cases)}" for where, cases in missing if cases]
    if told:
        raise DatasetError(f"expected the same cases in both tables; {'; '.join(told)}")
    if "nsd" in scores and isinstance(base, CaseTable) and isinstance(table, CaseTable):
        _require_same_tolerances(base_name, base, name, table)


def _require_same_tolerances(base_name: str, base: CaseTable, name: str, table: CaseTable) -> None:
    """NSD within 1 mm and within 4 mm are two scores; what was measured without a tolerance has none to differ."""
    for label, structure in base.label_names.items():
        mine, theirs = (
            {r.nsd_tolerance_mm for r in t.rows if r.label == label and not isnan(r.nsd_tolerance_mm)}
            for t in (base, table)
        )
        if mine and theirs and mine != theirs:
            told = [f"{n} has {_in_mm(found)}" for n, found in ((base_name, mine), (name, theirs)) if found]
            raise DatasetError(
                f"expected NSD of one tolerance in both tables, for {structure} {', '.join(told)}; measure both "
                "with the same --tolerances-mm, or compare without nsd (--scores '[dice, hd95_mm]')"
            )


def _in_mm(tolerances: Collection[float]) -> str:
    unit = shown_unit(min(tolerances))
    return " and ".join(length_in(mm, unit) for mm in sorted(tolerances))


def _listed(cases: Collection[str]) -> str:
    more = f" and {len(cases) - _SHOWN_CASES} more" if len(cases) > _SHOWN_CASES else ""
    return ", ".join(sorted(cases)[:_SHOWN_CASES]) + more
