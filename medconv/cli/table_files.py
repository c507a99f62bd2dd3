"""The files of a table: the same ones from `evaluate`, `validate`, `test` and at the end of `fit`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.metrics import CaseTable, nnunet_summary


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
