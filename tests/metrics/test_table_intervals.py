from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest

from medconv.errors import UnknownNameError
from medconv.metrics import CaseRow, CaseTable, bootstrap_interval, table_intervals

ROW = CaseRow("a", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)


def table(dice: np.ndarray) -> CaseTable:
    """Cases × classes; nan is in neither map."""
    return CaseTable(
        replace(
            ROW,
            case_id=f"case_{c:03}",
            label=k + 1,
            name="xyz"[k],
            dice=float(d),
            ref_empty=bool(np.isnan(d)),
            pred_empty=bool(np.isnan(d)),
        )
        for (c, k), d in np.ndenumerate(dice)
    )


def test_each_class_has_the_interval_of_its_column() -> None:
    dice = np.random.default_rng(0).random((30, 3))
    found = table_intervals(table(dice), ["dice"])
    for place in range(3):
        expected = bootstrap_interval(dice[:, place])
        assert found[place + 1, "dice"].mean == pytest.approx(expected.mean)
        assert (found[place + 1, "dice"].low, found[place + 1, "dice"].high) == pytest.approx(
            (expected.low, expected.high)
        )
    overall = bootstrap_interval(dice.mean(1))
    assert found[0, "dice"].low == pytest.approx(overall.low)


def test_classes_of_one_case_are_drawn_together() -> None:
    """Two copies of a class are no more certain than one."""
    column = np.random.default_rng(1).random(25)
    found = table_intervals(table(np.stack([column, column], 1)), ["dice"])
    assert (found[0, "dice"].low, found[0, "dice"].high) == pytest.approx(
        (found[1, "dice"].low, found[1, "dice"].high)
    )


def test_a_class_that_is_absent_from_a_case_has_no_value_there() -> None:
    dice = np.array([[0.5, nan], [0.7, 0.9], [0.6, nan], [0.9, nan]])
    found = table_intervals(table(dice), ["dice"])
    assert found[2, "dice"].mean == 0.9
    assert isnan(found[2, "dice"].low)
    assert found[0, "dice"].mean == pytest.approx((0.675 + 0.9) / 2)
    assert found[0, "dice"].low < found[0, "dice"].mean < found[0, "dice"].high


def test_one_case_has_no_interval_and_none_has_nothing() -> None:
    found = table_intervals(CaseTable([ROW]), ["dice"])
    assert found[0, "dice"].mean == 0.8
    assert isnan(found[0, "dice"].low)
    assert table_intervals(CaseTable([], {1: "head"}), ["dice"]) == {}


def test_the_policy_decides_the_distance_of_what_is_missed() -> None:
    missed = replace(ROW, case_id="b", hd95_mm=inf, pred_empty=True)
    rows = CaseTable([ROW, missed, replace(ROW, case_id="c")])
    assert table_intervals(rows, ["hd95_mm"])[1, "hd95_mm"].high == 50
    assert table_intervals(rows, ["hd95_mm"], "inf")[1, "hd95_mm"].high == inf
    assert table_intervals(rows, ["hd95_mm"], "nan")[1, "hd95_mm"].high == 1.5


def test_an_unknown_score_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no score 'dicee'; did you mean 'dice'"):
        table_intervals(CaseTable([ROW]), ["dicee"])
