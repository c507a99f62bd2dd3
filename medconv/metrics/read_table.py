"""A table from its file, of whatever kind the file is."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from medconv.metrics.case_table import CaseTable
from medconv.metrics.instance_table import InstanceTable
from medconv.metrics.membrane_table import MembraneTable

_KINDS: dict[str, type[InstanceTable] | type[MembraneTable]] = {
    "ref_objects": InstanceTable,
    "ref_segments": MembraneTable,
}
"""Tables by a column that no other kind has."""


def read_table(path: str | os.PathLike[str]) -> CaseTable | InstanceTable | MembraneTable:
    """Read a table that ``to_csv`` wrote: of structures, objects or membranes, as its columns say.

    Raises:
        DatasetError: The file is absent, no such table, empty, or contradicts itself; the text names it.
    """
    try:
        with Path(path).open(encoding="utf-8", newline="") as stream:
            columns = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        columns = []  # told by the table
    for column, kind in _KINDS.items():
        if column in columns:
            return kind.from_csv(path)
    return CaseTable.from_csv(path)
