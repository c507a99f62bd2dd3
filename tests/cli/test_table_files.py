"""The files of tables that a run leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from medconv.cli.table_files import write_objects
from medconv.metrics import InstanceTable, measure_instances, read_table


def test_objects_of_a_run_have_files_of_their_own(tmp_path: Path) -> None:
    ref = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
    table = InstanceTable([measure_instances("a", ref, ref), measure_instances("b", ref == 1, ref)])
    report = write_objects(table, tmp_path / "run", {"b": b"\x89PNG of b"})
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "objects.csv",
        "objects.html",
        "objects.json",
    ]
    back = read_table(tmp_path / "run/objects.csv")
    assert isinstance(back, InstanceTable)
    assert back.rows == table.rows
    assert json.loads((tmp_path / "run/objects.json").read_text())["summary"]["missed"] == 1
    assert "Object report: " in report.read_text()
    assert "data:image/png;base64," in report.read_text()
