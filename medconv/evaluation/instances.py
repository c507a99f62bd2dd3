"""Single objects in files: read both maps of an image and count what was found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from medconv.errors import DatasetError
from medconv.evaluation.pairs import Pair
from medconv.evaluation.read_pair import read_maps
from medconv.metrics import InstanceRow, InstanceTable, measure_instances


@dataclass(frozen=True)
class Instances:
    """Measure maps that hold one number an object; see ``measure_instances``.

    Args:
        ignore_label: The number of voxels in references that nobody labelled.
    """

    ignore_label: int | None = None

    def measure_files(self, pair: Pair) -> list[InstanceRow]:
        """Read and measure one pair.

        Raises:
            MedconvError: A file cannot be read, or both do not lie on one grid.
        """
        pred, ref, _ = read_maps(pair)
        return [measure_instances(pair.case_id, pred, ref, self.ignore_label)]


def finish_instance_table(rows: Iterable[InstanceRow]) -> InstanceTable:
    """One table of all images.

    Raises:
        DatasetError: No image could be measured.
    """
    table = InstanceTable(rows)
    if not len(table):
        raise DatasetError("expected at least one image that can be measured, got none")
    return table
