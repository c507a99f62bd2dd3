from __future__ import annotations

from dataclasses import replace
from math import inf, nan

import pytest

from medconv.metrics import CaseRow, summarise
from medconv.reporting import format_summary, format_table

ROW = CaseRow("a", 1, "head", 0.9, 4.0, 1.5, False, False, 2.0, 2.1, 50.0)
MISSED = replace(ROW, case_id="b", dice=0.0, hd_mm=inf, hd95_mm=inf, pred_empty=True)
ABSENT = replace(ROW, label=2, name="tail", dice=nan, hd_mm=nan, hd95_mm=nan, ref_empty=True, pred_empty=True)


def test_columns_are_aligned_whatever_they_hold() -> None:
    text = format_table([["a", 1.5, "x"], ["longer", -20, "yy"], ["", "-", ""]], ["name", "value", "unit"])
    assert text.splitlines() == [
        "name    value  unit",
        "-------------------",
        "a         1.5  x",
        "longer    -20  yy",
        "            -",
    ]


def test_a_table_without_rows_is_its_head() -> None:
    assert format_table([], ["a", "b"]) == "a  b\n----"


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected rows of 2 cells like the headers, got \[2, 3\]"):
        format_table([[1, 2, 3]], ["a", "b"])


def test_a_summary_shows_scores_counts_and_conventions() -> None:
    lines = format_summary(summarise([ROW, MISSED, ABSENT])).splitlines()
    cells = [line.split() for line in lines]
    assert cells[2] == ["head", "0.4500", "-", "25.75", "27.00", "-", "2", "1", "0", "0"]
    assert cells[3] == ["tail", "-", "-", "-", "-", "-", "1", "0", "0", "1"]
    assert cells[4] == ["mean", "0.4500", "-", "25.75", "27.00", "-", "2", "1", "0", "1"]
    text = " ".join(lines)
    assert "the image's diagonal as distance" in text
    assert "image edge counted" in text
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize(
    ("empties", "said"), [("inf", "an infinite distance"), ("nan", "no part in the means")]
)
def test_the_policy_for_empties_is_said(empties: str, said: str) -> None:
    text = format_summary(summarise([ROW, MISSED], empties))  # type: ignore[arg-type]
    assert said in text
    assert ("inf" in text.split("mean")[0]) == (empties == "inf")
