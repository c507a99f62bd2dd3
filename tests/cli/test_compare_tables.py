from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medconv.cli.main import main
from medconv.metrics import CaseRow, CaseTable

ROW = CaseRow("a", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0, nsd=0.9)


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    dice = np.random.default_rng(0).uniform(0.6, 0.8, 20)
    paths = []
    for name, gain in (("plain", 0.0), ("other", 0.1)):
        rows = [replace(ROW, case_id=f"case_{c:02}", dice=float(d + gain)) for c, d in enumerate(dice)]
        paths.append(CaseTable(rows).to_csv(tmp_path / name / "table.csv"))
    return paths


def compare(*words: object) -> int:
    return main(["compare-tables", *map(str, words)])


def test_the_comparison_is_printed_and_written(
    tables: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert compare(*tables, "-o", out, "--margins", "{hd95_mm: 1}") == 0
    seen = capsys.readouterr()
    assert seen.err == ""
    assert "other/table.csv against plain/table.csv" in seen.out
    line = next(line for line in seen.out.splitlines() if line.startswith("head") and "Dice" in line)
    assert "+0.1000 [+0.1000, +0.1000]" in line
    assert line.endswith("better")
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert [row["verdict"] for row in rows] == ["better"] * 2 + ["no difference shown"] * 2 + [
        "equivalent"
    ] * 2
    plain = json.loads((out / "comparison.json").read_text())
    assert plain[0]["p_equivalence"] is None
    assert plain[0]["mean_difference"] == pytest.approx(0.1)
    assert max(map(len, seen.out.splitlines())) <= 150


def test_cases_that_a_table_lacks_are_named_and_the_rest_is_compared(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table = CaseTable.from_csv(tables[1])
    table.of_cases(table.case_ids[2:]).to_csv(tables[1])
    assert compare(*tables) == 1
    seen = capsys.readouterr()
    assert "left out: case_00, case_01: in plain/table.csv, but not in all tables" in seen.err
    assert "    18  better" in seen.out


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["{0}", "{0}"], "expected different tables, got one twice", 2),
        (["{0}"], "expected two tables and a score at least", 2),
        (["{0}", "{1}", "--scores", "[dicee]"], "no score 'dicee'; did you mean 'dice'?", 2),
        (["{0}", "nowhere.csv"], "no file nowhere.csv; expected a table.csv", 2),
        (["{0}", "{1}", "--empties", "foo"], "expected empties one of diagonal", 2),
        (["{0}", "{1}", "--margins", "0.01"], "for example --margins '{{dice: 0.01}}'", 2),
        (["{0}", "{1}", "-o", "{0}"], "-o: expected a folder", 2),
        (["{0}", "{1}", "-o", "{0}/x"], "-o: cannot write into", 2),
        (["{0}", "{1}", "--empties", "inf"], "finite distances", 2),
    ],
)
def test_misuse_is_refused(
    tables: list[Path], words: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*(word.format(*tables) for word in words)) == code
    assert message.replace("{{", "{").replace("}}", "}") in capsys.readouterr().err


def test_a_folder_stands_for_its_table_and_one_score_for_a_list(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*(path.parent for path in tables), "--scores", "dice") == 0
    assert "other/table.csv against plain/table.csv" in capsys.readouterr().out


def test_what_is_no_table_is_refused(
    tables: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert compare(tables[0], tmp_path / "other.csv") == 2
    assert "other.csv: expected a table.csv of medconv" in capsys.readouterr().err


def test_tables_without_a_common_case_are_told_what_they_have(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(row, case_id=f"x{row.case_id}") for row in CaseTable.from_csv(tables[1]).rows]
    CaseTable(rows).to_csv(tables[1])
    assert compare(*tables) == 2
    seen = capsys.readouterr().err
    assert "share none: plain/table.csv has case_00, case_01" in seen
    assert "other/table.csv has xcase_00, xcase_01, xcase_02, xcase_03, xcase_04 and 15 more" in seen


def test_shared_structures_are_compared_and_the_others_told(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = CaseTable.from_csv(tables[1]).rows
    CaseTable([*rows, *(replace(row, label=2, name="tail") for row in rows)]).to_csv(tables[1])
    assert compare(*tables) == 1
    seen = capsys.readouterr()
    assert "left out: 2 tail: in other/table.csv, but not in all tables" in seen.err
    assert "the same --label-names" in seen.err
    assert "better" in seen.out


def test_nsd_of_different_tolerances_is_refused(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for path, mm in zip(tables, (1.0, 4.0), strict=True):
        rows = CaseTable.from_csv(path).rows
        CaseTable([replace(row, nsd_tolerance_mm=mm) for row in rows]).to_csv(path)
    assert compare(*tables) == 1
    assert "plain/table.csv has 1 mm, other/table.csv has 4 mm" in capsys.readouterr().err


def test_a_difference_within_the_margin_is_told_as_such(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(*reversed(tables), "--scores", "dice", "--margins", "{dice: 0.2}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("verdict")
    assert lines[4].endswith("worse, but within the margin of 0.2")
