"""Single objects in files: read both maps of an image and count what was found."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medconv.errors import BadImageError, DatasetError
from medconv.evaluation.pairs import Pair
from medconv.evaluation.read_pair import LabelMap, read_maps
from medconv.metrics import InstanceRow, InstanceTable, measure_instances
from medconv.metrics.unnumbered import unnumbered_text


@dataclass(frozen=True)
class Instances:
    """Measure maps that hold one number an object; see ``measure_instances``.

    Args:
        ignore_label: The number of voxels in references that nobody labelled.
    """

    ignore_label: int | None = None

    def measure_files(self, pair: Pair) -> list[InstanceRow]:
        """Read and measure one pair.

        A prediction that is a mask is measured as the one object that it says: left out, it would cost nothing.

        Raises:
            MedconvError: A file cannot be read, or both do not lie on one grid.
            BadImageError: The reference is a mask of all objects, such as one of 0 and 255.

        Warns:
            UserWarning: The prediction is such a mask.
        """
        pred, ref, _ = read_maps(pair)
        if text := self._unnumbered(ref):
            raise BadImageError(f"{pair.reference}: {text}")
        if text := self._unnumbered(pred):
            warnings.warn(f"{pair.prediction}: {text}", UserWarning, stacklevel=2)
        return [measure_instances(pair.case_id, pred, ref, self.ignore_label)]

    def _unnumbered(self, labels: LabelMap) -> str:
        told = labels if self.ignore_label is None else np.where(labels == self.ignore_label, 0, labels)
        return unnumbered_text(told, "measure labels, without --instances")


def finish_instance_table(rows: Iterable[InstanceRow]) -> InstanceTable:
    """One table of all images.

    Raises:
        DatasetError: No image could be measured.
    """
    table = InstanceTable(rows)
    if not len(table):
        raise DatasetError("expected at least one image that can be measured, got none")
    return table
