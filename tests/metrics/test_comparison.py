from __future__ import annotations

from dataclasses import replace
from math import inf, isnan, nan

import numpy as np
import pytest

from medconv.errors import ConfigError, DatasetError
from medconv.metrics import CaseRow, CaseTable, compare_paired, compare_tables, holm

ROW = CaseRow("a", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)


def table(dice: np.ndarray, hd95_mm: float = 1.5) -> CaseTable:
    return CaseTable(
        replace(
            ROW, case_id=f"case_{c:03}", label=k + 1, name=("head", "tail")[k], dice=float(d), hd95_mm=hd95_mm
        )
        for (c, k), d in np.ndenumerate(dice)
    )


def test_each_question_is_the_paired_comparison_of_its_columns() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.random((20, 2)), rng.random((20, 2))
    found = compare_tables({"a": table(first), "b": table(second)}, ["dice"], {"dice": 0.5})
    assert [(f.label, f.name) for f in found] == [(0, "mean over structures"), (1, "head"), (2, "tail")]
    columns = [(first.mean(1), second.mean(1)), *zip(first.T, second.T, strict=True)]
    for entry, (before, after) in zip(found, columns, strict=True):
        expected = compare_paired(before, after, 0.5)
        assert entry.paired.mean_difference == pytest.approx(expected.mean_difference)
        assert entry.paired.p_permutation == expected.p_permutation
        assert entry.paired.p_equivalence == pytest.approx(expected.p_equivalence)
    adjusted = holm([f.paired.p_permutation for f in found])
    assert [f.p_permutation_holm for f in found] == pytest.approx(list(adjusted))


def test_verdicts_know_which_way_is_better() -> None:
    dice = np.random.default_rng(1).uniform(0.5, 0.8, (25, 2))
    base, up = table(dice, 2.0), table(dice + 0.1, 3.0)
    found = compare_tables({"base": base, "up": up}, ["dice", "hd95_mm"])
    assert {f.score: f.verdict for f in found} == {"dice": "better", "hd95_mm": "worse"}
    same = compare_tables({"base": base, "same": base}, ["dice"])
    assert {f.verdict for f in same} == {"no difference shown"}
    jitter = np.random.default_rng(2).normal(0, 0.002, dice.shape)
    near = compare_tables({"base": base, "near": table(dice + jitter)}, ["dice"], {"dice": 0.01})
    assert {f.verdict for f in near} == {"equivalent"}


def test_every_further_table_is_another_question() -> None:
    dice = np.random.default_rng(3).random((12, 2))
    tables = {
        name: table(np.clip(dice + shift, 0, 1)) for name, shift in zip("abc", (0, 0.02, 0.05), strict=True)
    }
    found = compare_tables(tables, ["dice"])
    assert [(f.baseline, f.other) for f in found] == [("a", "b")] * 3 + [("a", "c")] * 3
    alone = compare_tables({k: tables[k] for k in "ab"}, ["dice"])
    assert found[0].p_permutation_holm > alone[0].p_permutation_holm


def test_what_has_no_value_on_a_side_is_omitted_and_counted() -> None:
    base = table(np.full((6, 1), 0.5))
    rows = [replace(row, dice=nan, ref_empty=True, pred_empty=True) for row in base.rows[:2]]
    other = CaseTable([*rows, *base.rows[2:]])
    assert compare_tables({"a": base, "b": other}, ["dice"])[1].paired.n_omitted == 2


def test_what_was_missed_counts_with_the_diagonal() -> None:
    base = table(np.full((6, 1), 0.5))
    missed = CaseTable([replace(base.rows[0], hd95_mm=inf, pred_empty=True), *base.rows[1:]])
    found = compare_tables({"a": base, "b": missed}, ["hd95_mm"])
    assert found[1].paired.mean_second == pytest.approx((50 + 5 * 1.5) / 6)
    omitted = compare_tables({"a": base, "b": missed}, ["hd95_mm"], empties="nan")
    assert omitted[1].paired.n_omitted == 1


def test_it_becomes_one_level_of_plain_values() -> None:
    base = table(np.random.default_rng(0).random((6, 1)))
    (plain, _) = (f.to_dict() for f in compare_tables({"a": base, "b": base}, ["dice"]))
    assert list(plain)[:6] == ["baseline", "other", "label", "name", "score", "n"]
    assert plain["verdict"] == "no difference shown"
    assert isnan(plain["p_equivalence_holm"])
    assert {type(v) for v in plain.values()} <= {str, int, float}


def test_misuse_is_refused() -> None:
    base = table(np.full((3, 2), 0.5))
    other = base.of_cases(["case_000"])
    with pytest.raises(DatasetError, match="same cases in both tables; not in b: case_001, case_002"):
        compare_tables({"a": base, "b": other})
    with pytest.raises(DatasetError, match="not in a: case_001, case_002"):
        compare_tables({"a": other, "b": base})
    with pytest.raises(DatasetError, match="same structures in both tables, a has"):
        compare_tables({"a": base, "b": table(np.full((3, 1), 0.5))})
    with pytest.raises(ConfigError, match="expected two tables and a score at least"):
        compare_tables({"a": base})
    with pytest.raises(ConfigError, match="finite distances"):
        compare_tables({"a": base, "b": base}, empties="inf")
    with pytest.raises(ConfigError, match="margins for hd_mm, but compared are dice"):
        compare_tables({"a": base, "b": base}, ["dice"], {"hd_mm": 1})


def test_nsd_of_different_tolerances_is_refused() -> None:
    def within(mm: float) -> CaseTable:
        dice = np.full((3, 2), 0.5)
        return CaseTable(replace(row, nsd=0.5, nsd_tolerance_mm=mm) for row in table(dice).rows)

    with pytest.raises(DatasetError, match=r"tolerance.*for head a has 1 mm, b has 4 mm; .*--tolerances-mm"):
        compare_tables({"a": within(1), "b": within(4)})
    assert compare_tables({"a": within(1), "b": within(4)}, ["dice"])
    assert compare_tables({"a": within(1), "b": within(nan)})
    with pytest.raises(ConfigError, match="expected empties one of"):
        compare_tables({"a": within(1), "b": within(1)}, empties="foo")  # type: ignore[arg-type]
