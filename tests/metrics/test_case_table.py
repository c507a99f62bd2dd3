from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest

from medconv.errors import ConfigError, DatasetError
from medconv.metrics import CaseRow, CaseTable, compare_tables, nnunet_summary

ROW = CaseRow("b", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0, iou=2 / 3)
MISSED = replace(ROW, case_id="a", dice=0.0, hd_mm=inf, hd95_mm=inf, pred_empty=True, iou=0.0)
ABSENT = replace(ROW, case_id="c", dice=nan, hd_mm=nan, hd95_mm=nan, ref_empty=True, pred_empty=True, iou=nan)


def counted(row: CaseRow, tp: int, ref: int, pred: int) -> CaseRow:
    return replace(row, tp_voxels=tp, ref_voxels=ref, pred_voxels=pred, image_voxels=1000)


def test_rows_are_in_one_order_whatever_came_first() -> None:
    region = replace(ROW, label=-1, name="whole")
    table = CaseTable([region, ROW, MISSED, replace(ROW, label=2, name="tail"), ROW])
    assert [(row.case_id, row.label) for row in table.rows] == [("a", 1), ("b", 1), ("b", 2), ("b", -1)]
    assert dict(table.label_names) == {1: "head", 2: "tail", -1: "whole"}
    assert table.case_ids == ("a", "b")


def test_nothing_in_it_can_be_changed() -> None:
    table = CaseTable([ROW])
    with pytest.raises(AttributeError):
        table.rows = ()  # type: ignore[misc]
    with pytest.raises(AttributeError):
        table.remark = "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        table.label_names[2] = "x"  # type: ignore[index]


def test_the_policy_is_applied_in_the_summary_only() -> None:
    table = CaseTable([ROW, MISSED])
    assert table.rows[0].hd95_mm == inf
    assert table.summary().class_first["hd95_mm"] == (50 + 1.5) / 2
    assert table.summary("nan").class_first["hd95_mm"] == 1.5
    assert table.summary(100).class_first["hd95_mm"] == (100 + 1.5) / 2
    with pytest.raises(ConfigError, match="expected empties one of"):
        CaseTable([ROW], empties="worst")  # type: ignore[arg-type]


def test_json_says_conventions_summary_and_rows(tmp_path: Path) -> None:
    table = CaseTable([ROW, MISSED, ABSENT])
    text = table.to_json(tmp_path / "new" / "table.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    plain = json.loads(text, parse_constant=refuse)
    assert plain["conventions"]["empties"] == "diagonal"
    assert "image edge counted" in plain["conventions"]["surface"]
    assert plain["rows"][0]["hd95_mm"] is None
    assert plain["rows"][0]["pred_empty"] is True
    assert plain["summary"]["labels"][0]["n_missed"] == 1
    assert plain["summary"]["class_first_mean_dice"] == 0.4


def test_a_part_keeps_the_names() -> None:
    table = CaseTable([ROW, MISSED], {1: "head", 2: "tail"})
    part = table.of_cases({"a", "x"})
    assert part.case_ids == ("a",)
    assert part.label_names == table.label_names


def test_contradictions_are_refused() -> None:
    with pytest.raises(
        DatasetError, match=r"case b, head: measured twice with different results, dice 0\.8 and 0\.7; give"
    ):
        CaseTable([ROW, replace(ROW, dice=0.7)])
    with pytest.raises(DatasetError, match="label 1 is called tail, before head"):
        CaseTable([ROW, replace(ROW, case_id="c", name="tail")])
    with pytest.raises(DatasetError, match=r"label 1 \(head\) is not in this table"):
        CaseTable([ROW], {2: "tail"})
    with pytest.raises(DatasetError, match=r"nowhere\.csv: .*No such file"):
        CaseTable.from_csv("nowhere.csv")


def test_the_shape_of_nnunet_holds_its_numbers() -> None:
    rows = [counted(ROW, 40, 50, 50), counted(MISSED, 0, 10, 0), counted(ABSENT, 0, 0, 0)]
    summary = nnunet_summary(CaseTable(rows), {"b": ("pred/b.nii.gz", "ref/b.nii.gz")})
    assert list(summary) == ["foreground_mean", "mean", "metric_per_case"]
    missed, found, absent = summary["metric_per_case"]
    assert (found["prediction_file"], found["reference_file"]) == ("pred/b.nii.gz", "ref/b.nii.gz")
    assert found["metrics"]["1"] == {
        "Dice": 0.8,
        "FN": 10,
        "FP": 10,
        "IoU": 2 / 3,
        "TN": 940,
        "TP": 40,
        "n_pred": 50,
        "n_ref": 50,
    }
    assert missed["metrics"]["1"]["Dice"] == 0
    assert repr(absent["metrics"]["1"]["Dice"]) == "nan"
    assert summary["mean"]["1"]["Dice"] == 0.4
    assert summary["mean"]["1"]["n_ref"] == 20
    assert summary["foreground_mean"] == summary["mean"]["1"]


def test_a_class_that_occurs_nowhere_does_not_spoil_the_foreground_mean() -> None:
    rows = [counted(ROW, 40, 50, 50), counted(replace(ABSENT, label=2, name="tail"), 0, 0, 0)]
    assert nnunet_summary(CaseTable(rows))["foreground_mean"]["Dice"] == 0.8


def test_tables_without_counts_cannot_become_one_of_nnunet() -> None:
    with pytest.raises(DatasetError, match=r"case b, head: expected voxel counts, got none"):
        nnunet_summary(CaseTable([ROW]))


def test_conventions_travel_with_the_rows_and_never_mix(tmp_path: Path) -> None:
    surfel = replace(ROW, convention="surfel count pooled")
    table = CaseTable.from_csv(CaseTable([surfel]).to_csv(tmp_path / "t.csv"))
    assert "surface elements weighted by area" in table.convention
    assert table.summary().convention == table.convention
    with pytest.raises(
        DatasetError, match="expected rows of one convention, got 'surfel count pooled' and 'voxel"
    ):
        CaseTable([surfel, replace(ROW, case_id="c")])
    with pytest.raises(DatasetError, match="expected distances of one convention in both tables"):
        compare_tables({"a": CaseTable([ROW]), "b": table})
    with pytest.raises(
        ConfigError, match="expected a convention like 'voxel count directed_max', got 'mesh'"
    ):
        CaseTable([replace(ROW, convention="mesh")])
