"""Figures of cells are told in µm, and NSD has a tolerance that suits them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medconv.evaluation.measure import measure_maps
from medconv.metrics import CaseTable, Structures
from medconv.metrics.rows import CaseRow
from medconv.reporting import format_summary
from medconv.reporting.report import report_html

REF = np.zeros((24, 24), np.uint8)
REF[6:16, 6:16] = 1
PRED = np.roll(REF, 3, axis=0)
STRUCTURES = Structures({1: "nucleus"})


def table_of(*spacings: tuple[float, ...] | None) -> CaseTable:
    rows: list[CaseRow] = []
    for number, mm in enumerate(spacings):
        rows += measure_maps(f"case_{number}", PRED, REF, mm, STRUCTURES, surfaces=mm is not None)
    return CaseTable(rows)


def test_cells_are_told_in_micrometres_within_two_pixels() -> None:
    table = table_of((0.0005, 0.0005))
    assert (table.rows[0].hd_mm, table.rows[0].nsd_tolerance_mm) == (0.0015, 0.001)
    assert 0 < table.rows[0].nsd < 1
    text = format_summary(table.summary())
    assert "HD95 µm  HD µm  ASSD µm" in text
    assert " 1.50 " in text
    assert "within 1 µm of each other" in text
    page = report_html(table)
    assert "HD95 µm" in page
    assert "Spacing of all cases: 0.5 × 0.5 µm." in page
    assert " mm" not in page.split("<main")[-1].replace("1 mm", "")


def test_scans_stay_in_millimetres_within_one() -> None:
    text = format_summary(table_of((0.5, 0.5)).summary())
    assert "HD95 mm" in text
    assert "within 1 mm of each other" in text


def test_unknown_pixels_have_no_distances_at_all() -> None:
    table = table_of(None)
    text = format_summary(table.summary())
    assert " ".join(text.splitlines()[0].split()) == "class Dice cases missed false positive in neither"
    assert "No distances were measured." in text
    page = report_html(table)
    assert not any(word in page for word in ("HD95", " mm", "NSD:", "ASSD"))


def test_tolerances_that_differ_from_case_to_case_are_not_told_as_one() -> None:
    table = table_of((0.0005, 0.0005), (0.0004, 0.0004))
    assert table.summary().nsd_tolerances_mm == {}
    assert "within a tolerance of each case" in format_summary(table.summary())
    assert np.isnan(table.head()["conventions"]["nsd_tolerance_mm"]["nucleus"])


@pytest.mark.parametrize("mm", [0.0005, 0.5])
def test_a_comparison_is_told_in_the_unit_of_its_tables(
    mm: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from medconv.cli.main import main

    paths = [str(table_of((mm, mm)).to_csv(tmp_path / f"{name}.csv")) for name in "ab"]
    assert main(["compare-tables", *paths]) == 0
    told = capsys.readouterr().out
    assert ("HD95 µm" in told, "HD95 mm" in told) == (mm < 0.02, mm > 0.02)
    assert " 1.50 " in told
