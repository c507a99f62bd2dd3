"""The files of a table: the same ones from `evaluate`, `validate`, `test` and at the end of `fit`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.metrics import CaseTable, InstanceTable, nnunet_summary
from medconv.reporting import ReportNotes
from medconv.reporting.instance_report import write_instance_report


def write_tables(
    table: CaseTable,
    folder: Path,
    files: Mapping[str, tuple[str, str]] | None = None,
    not_measured: Mapping[str, str] | None = None,
) -> Path:
    """Write ``table.csv``, ``table.json`` and, in nnU-Net's shape, ``summary.json``.

    Args:
        table: What was measured.
        folder: Made if it is absent.
        files: Prediction and reference of each case, for ``summary.json``.
        not_measured: What has no row and why, by name, for ``table.json``.

    Returns:
        The CSV.
    """
    table.to_json(folder / "table.json", not_measured)
    write_text(folder / "summary.json", json.dumps(nnunet_summary(table, files), indent=2) + "\n")
    return table.to_csv(folder / "table.csv")


def write_objects(found: InstanceTable, folder: Path, pictures: Mapping[str, bytes]) -> Path:
    """Write ``objects.csv``, ``objects.json`` and ``objects.html`` beside the table of classes.

    Args:
        found: Single objects of every image.
        folder: Made if it is absent.
        pictures: PNG of the worst images, by name.

    Returns:
        The report.
    """
    found.to_json(folder / "objects.json")
    found.to_csv(folder / "objects.csv")
    notes = ReportNotes(f"Object report: {folder}", [date.today().isoformat()], pictures)
    return write_instance_report(found, folder / "objects.html", notes)
