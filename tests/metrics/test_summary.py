from __future__ import annotations

import json
import random
from dataclasses import replace
from math import inf, isnan, nan

import pytest

from medconv.errors import ConfigError
from medconv.metrics import CaseRow, summarise

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
        assert summarise(rows).to_dict() == expected


def test_it_becomes_plain_values() -> None:
    plain = summarise([row(0, 1, 0.8), missed(1, 1)]).to_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["labels"][0]["n_missed"] == 1
    assert plain["empties"] == "diagonal"
    assert "image edge counted" in plain["convention"]


def test_numbers_with_a_unit_say_it() -> None:
    plain = summarise([row(0, 1, 1)]).to_dict()
    names = [*plain, *plain["labels"][0]]
    assert [n for n in names if "hd" in n and not n.endswith("_mm")] == []


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected empties one of diagonal, inf, nan, got 'zero'"):
        summarise([], "zero")  # type: ignore[arg-type]
