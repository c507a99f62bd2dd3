"""Curves and comparisons of findings whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medconv.errors import ConfigError, DatasetError, UnknownNameError
from medconv.metrics import CaseRow, CaseTable, Structures, holm, sign_flip_p, table_intervals
from medconv.study import (
    UPRIGHT,
    Agreement,
    Arm,
    CaseFindings,
    Condition,
    Finding,
    Robustness,
    agreement_of,
    agreement_points,
    compare_levels,
    curve_points,
    require_same_task,
)
from medconv.study.measures import Classes

TURN = Condition("rotate", 45, "S")
NOISE = Condition("noise", 0.5)
CASES = 8
MEASURE = Classes(Structures({1: "s1", 2: "s2"}))


def row(case: str, label: int, dice: float) -> CaseRow:
    return CaseRow(case, label, f"s{label}", dice, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)


def study(fall: dict[str, float], seed: int = 0) -> Robustness:
    """Networks whose Dice falls by so much at 45°, and not at all under noise."""
    rng = np.random.default_rng(seed)
    upright = rng.uniform(0.8, 0.9, (CASES, 2))
    wobble = rng.uniform(-0.01, 0.01, (CASES, 2, len(fall)))
    results = []
    for n in range(CASES):
        name, findings = f"case_{n}", []
        for place, (arm, lost) in enumerate(fall.items()):
            for condition, down in ((UPRIGHT, 0.0), (TURN, lost), (NOISE, 0.0)):
                moved = 0 if condition is UPRIGHT else wobble[n, :, place]
                values = upright[n] - down + moved
                rows = tuple(row(name, label, float(v)) for label, v in zip((1, 2), values, strict=True))
                agreement = (
                    None
                    if condition is UPRIGHT
                    else Agreement(1 - down, 1 - down, 1e-6 * n if down else np.nan, do_tiles_turn=n % 2 == 0)
                )
                findings.append(Finding(condition, arm, rows, agreement))
        findings.append(Finding(TURN, "", tuple(row(name, label, 0.98) for label in (1, 2))))
        results.append(CaseFindings(name, tuple(findings)))
    results.append(CaseFindings("broken", problem="it is"))
    return Robustness(results, list(fall), [TURN, NOISE], MEASURE)


def test_the_neutral_level_is_the_figure_of_evaluate() -> None:
    found = study({"plain": 0.3})
    upright = [p for p in curve_points(found, ["dice", "hd95_mm"]) if p.level == 0]
    expected = table_intervals(found.table("plain"), ["dice", "hd95_mm"])
    assert len(upright) == 2 * 3 * 2  # both series, three structures (mean, s1, s2), both scores
    for point in upright:
        assert point.score_interval == expected[point.label, point.score]
        assert (point.change.mean, point.n_cases) == (0.0, CASES)


def test_a_point_tells_score_change_and_ceiling() -> None:
    found = study({"plain": 0.3})
    (point,) = [p for p in curve_points(found) if (p.series, p.level, p.label) == ("rotate S", 45, 0)]
    before, after = (
        np.array([[r.dice for r in found.table("plain", c).rows if r.label == k] for k in (1, 2)]).mean(0)
        for c in (UPRIGHT, TURN)
    )
    assert point.score_interval.mean == pytest.approx(after.mean())
    assert point.change.mean == pytest.approx((after - before).mean())
    assert point.change.low <= point.change.mean <= point.change.high < -0.28
    assert point.ceiling == pytest.approx(0.98)
    (noisy,) = [p for p in curve_points(found) if (p.series, p.level, p.label) == ("noise", 0.5, 0)]
    assert np.isnan(noisy.ceiling)
    assert noisy.to_dict()["change"] == noisy.change.mean


def test_a_steadier_network_is_told_from_a_better_one() -> None:
    found = study({"plain": 0.3, "symmetric": 0.1})
    entries = {(c.series, c.level, c.quantity): c for c in compare_levels(found)}
    assert len(entries) == 1 + 2 * 2  # upright, then score and change of both conditions
    assert entries["", 0, "score"].verdict == "no difference shown"
    assert entries["rotate S", 45, "score"].verdict == "better"
    assert entries["rotate S", 45, "change"].verdict == "falls less"
    assert entries["noise", 0.5, "change"].verdict == "no difference shown"
    worse = {(c.series, c.quantity): c for c in compare_levels(study({"symmetric": 0.1, "plain": 0.3}))}
    assert worse["rotate S", "change"].verdict == "falls more"
    assert worse["rotate S", "score"].verdict == "worse"


def test_p_values_are_those_of_the_paired_tests_after_holm() -> None:
    found = study({"plain": 0.3, "symmetric": 0.29}, seed=3)
    entries = compare_levels(found)
    means = {
        (arm, condition): np.array(
            [[r.dice for r in found.table(arm, condition).rows if r.label == k] for k in (1, 2)]
        ).mean(0)
        for arm in found.arms
        for condition in (UPRIGHT, TURN, NOISE)
    }
    differences = [means["symmetric", UPRIGHT] - means["plain", UPRIGHT]]
    for condition in (TURN, NOISE):
        score = means["symmetric", condition] - means["plain", condition]
        differences += [score, score - differences[0]]
    expected = holm([sign_flip_p(d) for d in differences])
    np.testing.assert_allclose([e.p_permutation_holm for e in entries], expected)
    oracle = stats.wilcoxon(differences[1], zero_method="pratt", method="exact").pvalue
    assert entries[1].paired.p_wilcoxon == pytest.approx(oracle)


def test_one_network_is_compared_with_nothing() -> None:
    assert compare_levels(study({"plain": 0.3})) == []


def test_agreement_is_meaned_over_cases_and_the_largest_difference_kept() -> None:
    points = {p.series: p for p in agreement_points(study({"plain": 0.25}))}
    assert points["rotate S"].equal_share.mean == pytest.approx(0.75)
    assert points["rotate S"].probability_difference == pytest.approx(7e-6)
    assert np.isnan(points["noise"].probability_difference)
    assert points["rotate S"].network_difference == pytest.approx(6e-6)  # of those whose tiles turn
    assert (points["rotate S"].n_network, points["noise"].n_network) == (CASES // 2, 0)
    assert points["noise"].to_dict()["dice"] == 1.0


def test_agreement_is_counted_inside_what_both_see() -> None:
    one, other = np.array([[1, 1, 0], [2, 0, 5]]), np.array([[1, 0, 0], [2, 0, 0]])
    inside = np.array([[True, True, True], [True, True, False]])
    found = agreement_of(one, other, inside)
    assert found.equal_share == 0.8
    assert found.dice == pytest.approx((2 / 3 + 1) / 2)
    nothing = agreement_of(np.zeros((2, 2), int), np.zeros((2, 2), int))
    assert nothing.equal_share == 1
    assert np.isnan(nothing.dice)


def test_tables_hold_the_cases_that_were_done() -> None:
    found = study({"plain": 0.3})
    assert len(found.case_ids) == CASES
    assert isinstance(found.ceiling(TURN), CaseTable)
    assert found.ceiling(NOISE) is None
    assert list(found.series) == ["rotate S", "noise"]
    with pytest.raises(DatasetError, match="expected at least one case that can be examined, got none"):
        Robustness([CaseFindings("broken", problem="it is")], ["plain"], [TURN], MEASURE)


def test_unknown_scores_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="no score 'dise'"):
        curve_points(study({"plain": 0.1}), ["dise"])


def test_networks_of_different_tasks_are_refused() -> None:
    from tiny_checkpoint import tiny_plan

    class Fake:
        def __init__(self, **changes: object) -> None:
            self.plan = tiny_plan(**changes)

    one = Arm("one", Fake())  # type: ignore[arg-type]
    other = Arm("other", Fake(label_names={0: "background", 1: "head", 2: "neck"}))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"the same label names, one has .*tail.*, other has .*neck"):
        require_same_task([one, other])
    with pytest.raises(ConfigError, match="a different name for each network, got one, one"):
        require_same_task([one, one])
    with pytest.raises(ConfigError, match="expected a checkpoint, got none"):
        require_same_task([])
