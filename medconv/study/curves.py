"""A score against the level of a disturbance, with intervals, and whether two networks fall alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import nan
from typing import Any, Literal

import numpy as np

from medconv.metrics import Interval, PairedComparison, bootstrap_interval, compare_paired, holm
from medconv.metrics.scores import check_scores, known_score
from medconv.metrics.table_intervals import OVERALL
from medconv.study.conditions import KINDS, UPRIGHT, Condition
from medconv.study.measures import Table, aligned, score_columns, score_intervals
from medconv.study.robustness import Robustness
from medconv.types import FloatArray

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class CurvePoint:
    """One score of one structure of one network under one condition.

    Args:
        arm: The network.
        series: What is varied, such as ``"rotate S"``.
        level: How much of it; the neutral level is the image as it is.
        label: Number of the structure; 0 for all of them together.
        name: Of the structure.
        score: Name of the score.
        n_cases: Cases.
        score_interval: Mean over cases, then over structures, with its 95 % bootstrap interval: at the neutral level
            the figure of ``evaluate``.
        change: Mean over cases of the difference to the same case as it is, with its interval.
        ceiling: Mean of the reference turned there and back against itself; nan where nothing is turned.
    """

    arm: str
    series: str
    level: float
    label: int
    name: str
    score: str
    n_cases: int
    score_interval: Interval
    change: Interval
    ceiling: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values in one level, for CSV and JSON."""
        own = {k: v for k, v in vars(self).items() if k not in ("score_interval", "change", "ceiling")}
        mean = {k: getattr(self.score_interval, k) for k in ("mean", "low", "high")}
        change = {
            "change": self.change.mean,
            "change_low": self.change.low,
            "change_high": self.change.high,
        }
        return own | mean | change | {"ceiling": self.ceiling}


@dataclass(frozen=True)
class AgreementPoint:
    """How far a network says of disturbed images what it says of the images as they are.

    Args:
        arm: The network.
        series: What is varied.
        level: How much of it.
        equal_share: Share of voxels with equal labels, mean over cases.
        dice: Between both label maps, mean over cases.
        probability_difference: The largest of any case, where voxels are only permuted; nan elsewhere.
        network_difference: The largest of those cases whose tiles turn with the image: what is the network's alone.
        n_network: How many cases these are.
        objects_pq: Panoptic quality of the objects of one map against those of the other, mean over cases; nan for
            labels.
    """

    arm: str
    series: str
    level: float
    equal_share: Interval
    dice: Interval
    probability_difference: float
    network_difference: float
    n_network: int
    objects_pq: Interval

    def to_dict(self) -> dict[str, Any]:
        """Plain values in one level."""
        head = {"arm": self.arm, "series": self.series, "level": self.level}
        for name in ("equal_share", "dice", "objects_pq"):
            found: Interval = getattr(self, name)
            head |= {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
        rest = ("probability_difference", "network_difference", "n_network")
        return head | {name: getattr(self, name) for name in rest}


@dataclass(frozen=True)
class LevelComparison:
    """One network against the first one at one level; differences are other minus baseline, case by case.

    Args:
        baseline: The first network.
        other: The one compared with it.
        series: What is varied.
        level: How much of it.
        score: Name of the score, meaned over the structures of a case.
        quantity: ``"score"``: the score itself; ``"change"``: how far it has moved from the image as it is, so that
            a network that is better everywhere is not taken for a steadier one.
        paired: The differences.
        p_permutation_holm: After Holm's correction over all questions of the study.
        p_wilcoxon_holm: Likewise.
    """

    baseline: str
    other: str
    series: str
    level: float
    score: str
    quantity: Literal["score", "change"]
    paired: PairedComparison
    p_permutation_holm: float = nan
    p_wilcoxon_holm: float = nan

    @property
    def verdict(self) -> str:
        """What the other network is beside the baseline, at 5 % after the correction."""
        if not self.p_permutation_holm < _SIGNIFICANT:
            return "no difference shown"
        is_higher = self.paired.mean_difference > 0
        better, worse = ("better", "worse") if self.quantity == "score" else ("falls less", "falls more")
        return better if is_higher == known_score(self.score).higher_is_better else worse

    def to_dict(self) -> dict[str, Any]:
        """Plain values in one level."""
        own = {k: v for k, v in asdict(self).items() if k != "paired"}
        tail = {k: own.pop(k) for k in ("p_permutation_holm", "p_wilcoxon_holm")}
        return own | asdict(self.paired) | tail | {"verdict": self.verdict}


def curve_points(found: Robustness, scores: Collection[str] = ("dice",)) -> list[CurvePoint]:
    """Every score of every structure, network, series and level; the neutral level belongs to each series.

    Raises:
        UnknownNameError: There is no such score.
    """
    check_scores(scores, found.measure.scores)
    points: list[CurvePoint] = []
    for arm in found.arms:
        upright = found.table(arm)
        for series, conditions in found.series.items():
            for level, condition in _levels(conditions):
                table, ceiling = found.table(arm, condition), found.ceiling(condition)
                head = (arm, series, level)
                points += _points(head, found.measure.names, (table, upright, ceiling), scores)
    return points


def _points(
    head: tuple[str, str, float],
    names: Mapping[int, str],
    tables: tuple[Table, Table, Table | None],
    scores: Collection[str],
) -> Iterator[CurvePoint]:
    table, upright, ceiling = tables
    means = score_intervals(table, scores)
    best = {} if ceiling is None else score_intervals(ceiling, scores, resamples=1)
    for score in scores:
        now, before = score_columns(table, score), score_columns(upright, score)
        for label, column in now.items():
            values = [aligned(own, table.case_ids) for own in (column, before[label])]
            change = bootstrap_interval(values[0] - values[1])
            most = best[label, score].mean if best else nan
            found = means[label, score]
            yield CurvePoint(*head, label, names[label], score, len(table.case_ids), found, change, most)


def agreement_points(found: Robustness) -> list[AgreementPoint]:
    """The agreement of every network under every condition with what it says of the image as it is."""
    points = []
    for arm in found.arms:
        for condition in found.conditions:
            own = list(found.agreement(arm, condition).values())
            shares, dices, objects = (
                bootstrap_interval([getattr(a, name) for a in own])
                for name in ("equal_share", "dice", "objects_pq")
            )
            exact = [a for a in own if not np.isnan(a.probability_difference)]
            even = [a.probability_difference for a in exact if a.do_tiles_turn]
            largest = max((a.probability_difference for a in exact), default=nan)
            head = (arm, condition.series, condition.level)
            differences = (largest, max(even, default=nan), len(even))
            points.append(AgreementPoint(*head, shares, dices, *differences, objects))
    return points


def compare_levels(found: Robustness, scores: Collection[str] = ("dice",)) -> list[LevelComparison]:
    """Every network against the first one, at every level; none where there is only one.

    Two questions a level: is its score another, and has it moved by another amount. Holm's correction is over
    all of them; at the neutral level, which all series share, the score is asked for once.

    Raises:
        UnknownNameError: There is no such score.
    """
    check_scores(scores, found.measure.scores)
    asked = [
        comparison
        for other in found.arms[1:]
        for score in scores
        for comparison in _comparisons(found, found.arms[0], other, score)
    ]
    adjusted = [holm([getattr(a.paired, test) for a in asked]) for test in ("p_permutation", "p_wilcoxon")]
    return [
        replace(a, p_permutation_holm=float(p), p_wilcoxon_holm=float(q))
        for a, p, q in zip(asked, *adjusted, strict=True)
    ]


def _comparisons(found: Robustness, baseline: str, other: str, score: str) -> Iterator[LevelComparison]:
    arms = (baseline, other)

    def overall(table: Table) -> FloatArray:
        return aligned(score_columns(table, score)[OVERALL], table.case_ids)

    upright = [overall(found.table(arm)) for arm in arms]
    yield LevelComparison(baseline, other, "", 0.0, score, "score", compare_paired(upright[0], upright[1]))
    for condition in found.conditions:
        now = [overall(found.table(arm, condition)) for arm in arms]
        moved = [after - before for after, before in zip(now, upright, strict=True)]
        head = (baseline, other, condition.series, condition.level, score)
        yield LevelComparison(*head, "score", compare_paired(now[0], now[1]))
        yield LevelComparison(*head, "change", compare_paired(moved[0], moved[1]))


def _levels(conditions: Collection[Condition]) -> list[tuple[float, Condition]]:
    """The levels of a series in ascending order, with the neutral one among them."""
    neutral = KINDS[next(iter(conditions)).kind].neutral
    return sorted([(neutral, UPRIGHT), *((c.level, c) for c in conditions)], key=lambda pair: pair[0])
