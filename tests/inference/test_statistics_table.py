from __future__ import annotations

import csv
import os
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from medconv.cli.predict_tables import require_own_files
from medconv.inference.statistics import Structure
from medconv.inference.statistics_table import StatisticsTable

PRESENT = Structure(1, 'left, "big"', 1234, 12.3456789, (5.5,), (1.0, -2.5, 1e-9), True, 0.875)
ABSENT = Structure(2, "b", 0, 0.0, (), (), False)
COLUMNS = (
    "case,label,name,voxels,volume_ml,mean_intensity,centroid_r_mm,centroid_a_mm,centroid_s_mm,touches_border"
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_are_sorted_by_case_and_absent_structures_have_empty_cells(tmp_path: Path) -> None:
    table = StatisticsTable(tmp_path / "s.csv", ("CT",))
    table.add("z", [PRESENT])
    table.add("a", [PRESENT, ABSENT])
    assert table.write() == tmp_path / "s.csv"
    assert (tmp_path / "s.csv").read_text() == (
        f"{COLUMNS}\n"
        'a,1,"left, ""big""",1234,12.34568,5.5,1,-2.5,1e-09,true\n'
        "a,2,b,0,0,,,,,false\n"
        'z,1,"left, ""big""",1234,12.34568,5.5,1,-2.5,1e-09,true\n'
    )


def test_channels_and_probabilities_have_columns(tmp_path: Path) -> None:
    table = StatisticsTable(tmp_path / "s.csv", ("T1", "T2"), has_probabilities=True)
    table.add("a", [Structure(1, "x", 1, 1.0, (3.0, 4.0), (0, 0, 0), False, 0.5), ABSENT])
    table.write()
    first, second = rows(tmp_path / "s.csv")
    assert (first["mean_intensity_T1"], first["mean_intensity_T2"], first["mean_probability"]) == (
        "3",
        "4",
        "0.5",
    )
    assert (second["mean_intensity_T1"], second["mean_probability"]) == ("", "")


def test_earlier_rows_stay_until_their_case_is_done_again(tmp_path: Path) -> None:
    first = StatisticsTable(tmp_path / "s.csv", ("CT",))
    first.add("a", [PRESENT])
    first.add("b", [PRESENT])
    first.write()
    second = StatisticsTable(tmp_path / "s.csv", ("CT",))
    second.keep_earlier()
    assert "a" in second
    assert "c" not in second
    second.add("b", [ABSENT])
    second.write()
    assert [(row["case"], row["name"]) for row in rows(tmp_path / "s.csv")] == [
        ("a", 'left, "big"'),
        ("b", "b"),
    ]


def test_a_table_of_other_columns_or_no_table_is_not_taken_over(tmp_path: Path) -> None:
    table = StatisticsTable(tmp_path / "s.csv", ("CT",))
    table.keep_earlier()
    (tmp_path / "s.csv").write_text("case,label\na,1\n")
    table.keep_earlier()
    (tmp_path / "s.csv").write_bytes(b"\xff\xfe\x00binary")
    table.keep_earlier()
    assert "a" not in table


def test_a_table_that_went_through_a_spreadsheet_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    first = StatisticsTable(path, ("CT",))
    first.add("a", [PRESENT])
    text = first.write().read_text()
    path.write_text(
        text.rstrip("\n") + ",a note\n", encoding="utf-8-sig"
    )  # as Excel writes it: a mark in front
    second = StatisticsTable(path, ("CT",))
    second.keep_earlier()
    assert second.write().read_text() == text


def test_rows_of_a_case_whose_name_is_no_utf_8_are_found_again(tmp_path: Path) -> None:
    case, path = os.fsdecode(b"M\xfcller"), tmp_path / "s.csv"
    first = StatisticsTable(path, ("CT",))
    first.add(case, [PRESENT])
    first.write()
    second = StatisticsTable(path, ("CT",))
    second.keep_earlier()
    assert case in second
    require_own_files(
        Namespace(
            **dict.fromkeys(("region_table", "report", "shard")), stats=str(path), input=[], checkpoint=[]
        )
    )


def test_rows_with_and_without_probabilities_stay_in_one_table(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    for case, is_asked in (("a", False), ("b", True), ("c", False)):
        table = StatisticsTable(path, ("CT",), has_probabilities=is_asked)
        table.keep_earlier()
        table.add(case, [PRESENT if is_asked else replace(PRESENT, mean_probability=None)])
        table.write()
    assert [(row["case"], row["voxels"], row["mean_probability"]) for row in rows(path)] == [
        ("a", "1234", ""),
        ("b", "1234", "0.875"),
        ("c", "1234", ""),
    ]
