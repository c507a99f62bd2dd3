from __future__ import annotations

import json
import random
from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest

from medconv.errors import ConfigError
from medconv.metrics import CaseRow, SurfaceConvention, measure_case, summarise
from medconv.reporting import format_summary

DIAGONAL_MM = 50.0


def row(case: int, label: int, dice: float, hd_mm: float = 4.0, hd95_mm: float = 2.0) -> CaseRow:
    name = f"organ {label}"
    return CaseRow(f"case_{case}", label, name, dice, hd_mm, hd95_mm, False, False, 1, 1, DIAGONAL_MM)


def missed(case: int, label: int) -> CaseRow:
    return replace(row(case, label, 0.0, inf, inf), pred_empty=True)


def false_positive(case: int, label: int) -> CaseRow:
    return replace(row(case, label, 0.0, inf, inf), ref_empty=True)


def absent(case: int, label: int) -> CaseRow:
    return replace(row(case, label, nan, nan, nan), ref_empty=True, pred_empty=True)


def test_g15_classes_are_averaged_after_cases() -> None:
    scores = [[0.9, None, 0.8], [0.8, 0.2, None], [0.7, None, None]]
    rows = [
        absent(case, label) if dice is None else row(case, label, dice)
        for case, of_case in enumerate(scores)
        for label, dice in enumerate(of_case, start=1)
    ]
    summary = summarise(rows)
    # (0.8 + 0.2 + 0.8) / 3; case-first would give 0.683, all values alike 0.680
    assert summary.class_first_mean_dice == pytest.approx(0.6)
    assert [s.n_both_empty for s in summary.labels] == [0, 2, 2]
    assert summary.n_cases == 3


def test_every_kind_of_empty_is_counted_and_weighed() -> None:
    rows = [row(0, 1, 0.8), row(1, 1, 0.6, 8.0, 6.0), missed(2, 1), false_positive(3, 1), absent(4, 1)]
    (organ,) = summarise(rows).labels
    counts = (organ.n, organ.n_valid, organ.n_missed, organ.n_false_positive, organ.n_both_empty)
    assert counts == (5, 2, 1, 1, 1)
    assert organ.mean_dice == pytest.approx(1.4 / 4)
    assert organ.median_dice == pytest.approx(0.3)
    assert organ.mean_hd_mm == pytest.approx((4 + 8 + 2 * DIAGONAL_MM) / 4)
    assert organ.median_hd_mm == pytest.approx((8 + DIAGONAL_MM) / 2)
    assert organ.mean_hd95_mm == pytest.approx((2 + 6 + 2 * DIAGONAL_MM) / 4)
    assert summarise(rows, "inf").labels[0].mean_hd_mm == inf
    assert summarise(rows, "inf").labels[0].median_hd_mm == inf
    without = summarise(rows, "nan").labels[0]
    assert (without.mean_hd_mm, without.n_missed, without.mean_dice) == (6.0, 1, organ.mean_dice)


def test_a_class_that_never_occurs_is_nan_and_spoils_no_mean() -> None:
    summary = summarise([row(0, 1, 0.8), absent(0, 2)])
    ghost = summary.labels[1]
    assert all(isnan(v) for v in (ghost.mean_dice, ghost.median_dice, ghost.mean_hd_mm, ghost.median_hd95_mm))
    assert (summary.class_first_mean_dice, summary.class_first_mean_hd95_mm) == (0.8, 2.0)
    nothing = summarise([absent(0, 1)])
    assert isnan(nothing.class_first_mean_dice)
    assert isnan(summarise([]).class_first_mean_dice)


def test_another_missed_case_never_improves_any_mean() -> None:
    rows = [row(case, 1, 0.1 * case, 5.0 * case, 4.0 * case) for case in range(1, 10)]
    for n in range(1, len(rows)):
        (before,), (after,) = (summarise(r).labels for r in (rows[:n], [*rows[:n], missed(99, 1)]))
        assert after.mean_dice < before.mean_dice
        assert after.mean_hd_mm > before.mean_hd_mm
        assert after.mean_hd95_mm > before.mean_hd95_mm


def test_the_order_of_rows_shows_in_no_digit() -> None:
    rng = random.Random(0)
    rows = [row(i // 2, 1 + i % 2, rng.random(), rng.random() * 9, rng.random()) for i in range(80)]
    expected = summarise(rows).to_dict()
    for _ in range(5):
        rng.shuffle(rows)
        assert repr(summarise(rows).to_dict()) == repr(expected)


def test_it_becomes_plain_values() -> None:
    plain = summarise([row(0, 1, 0.8), missed(1, 1)]).to_dict()
    assert repr(json.loads(json.dumps(plain))) == repr(plain)
    assert plain["labels"][0]["n_missed"] == 1
    assert plain["empties"] == "diagonal"
    assert "image edge counted" in plain["convention"]


def test_numbers_with_a_unit_say_it() -> None:
    plain = summarise([row(0, 1, 1)]).to_dict()
    names = [*plain, *plain["labels"][0]]
    assert [n for n in names if "hd" in n and not n.endswith("_mm")] == []


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"expected empties one of diagonal, inf, nan, or a distance in mm such as 374, got 'zero'",
    ):
        summarise([], "zero")  # type: ignore[arg-type]


def test_classes_first_and_cases_first_are_told_apart() -> None:
    """Golden vector G15: a case that lacks a class weighs differently in the two."""
    scores = {0: {1: 0.9, 3: 0.8}, 1: {1: 0.8, 2: 0.2}, 2: {1: 0.7}}
    rows = [row(c, k, d) for c, own in scores.items() for k, d in own.items()]
    rows += [absent(0, 2), absent(1, 3), absent(2, 2), absent(2, 3)]
    summary = summarise(rows)
    assert summary.class_first["dice"] == pytest.approx(0.6, abs=1e-12)
    assert summary.case_first["dice"] == pytest.approx(0.683333, abs=1e-6)


def test_a_number_of_mm_is_a_policy_too() -> None:
    """BraTS counts 374 mm for a structure that was missed."""
    (label,) = summarise([row(0, 1, 0.8, hd95_mm=2.0), missed(1, 1)], 374).labels
    assert label.mean_hd95_mm == (2 + 374) / 2


def test_regions_stand_after_the_classes_and_outside_the_mean() -> None:
    region = replace(row(0, 1, 0.1), label=-1, name="whole")
    summary = summarise([region, row(0, 2, 0.5), row(0, 1, 0.7)])
    assert [entry.label for entry in summary.labels] == [1, 2, -1]
    assert summary.class_first["dice"] == summary.case_first["dice"] == pytest.approx(0.6)
    assert summarise([region]).class_first["dice"] == pytest.approx(0.1)


def test_the_spread_is_that_of_numpy() -> None:
    dice = [0.5, 0.9, 0.7, 0.65]
    spread = summarise([row(i, 1, d) for i, d in enumerate(dice)]).labels[0].scores["dice"]
    assert (spread.mean, spread.median, spread.sd) == pytest.approx(
        (np.mean(dice), np.median(dice), np.std(dice, ddof=1))
    )


def test_structures_cut_off_on_every_side_are_counted_and_never_better_than_missed() -> None:
    """With the image's edge ignored, what fills the image has no surface."""
    full, nothing = np.ones((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    inner = np.zeros_like(full)
    inner[2:6, 2:6, 2:6] = 1
    ignore = SurfaceConvention(edge="ignore")
    pairs = {"one": (inner, full), "both": (full, full), "missed": (nothing, full), "fine": (inner, inner)}
    rows = {
        name: measure_case(name, *pair, 1, {1: "organ"}, convention=ignore)[0] for name, pair in pairs.items()
    }
    assert [(r.hd_mm, r.nsd) for r in (rows["one"], rows["missed"], rows["fine"])] == [
        (inf, 0),
        (inf, 0),
        (0, 1),
    ]
    assert isnan(rows["both"].hd_mm)
    summary = summarise(rows.values())
    (organ,) = summary.labels
    assert (organ.n_valid, organ.n_missed, organ.n_without_surface) == (3, 1, 2)
    of_two = [rows["both"], measure_case("other", inner * 2, inner * 2, 1, {2: "box"}, convention=ignore)[0]]
    assert summarise(of_two).labels[0].n_without_surface == 1, "also where no case of the label has a surface"
    assert organ.mean_hd_mm == pytest.approx(2 * 7 * 3**0.5 / 3)
    assert "No surface inside the image in 2 of 3 structures" in format_summary(summary)
    quick = measure_case("quick", inner, full, 1, {1: "organ"}, convention=ignore, surfaces=False)
    assert summarise(quick).labels[0].n_without_surface == 0
    counted = measure_case("a", inner, full, 1, {1: "organ"})
    assert summarise(counted).labels[0].n_without_surface == 0
    assert "No surface" not in format_summary(summarise(counted))
