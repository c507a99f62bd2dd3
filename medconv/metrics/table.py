"""The table while it is being filled: a metric for training loops, exact however cases are divided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from medconv.errors import DatasetError, ShapeError
from medconv.metrics.case_table import CaseTable
from medconv.metrics.convention import SurfaceConvention
from medconv.metrics.instance_rows import INSTANCE_ROWS, InstanceRow, measure_instances
from medconv.metrics.instance_table import InstanceSummary, InstanceTable
from medconv.metrics.row_metric import RowMetric
from medconv.metrics.rows import CASE_ROWS, CaseRow
from medconv.metrics.scores import Empties, check_empties
from medconv.metrics.structures import Structures
from medconv.metrics.summary import Summary


class SegmentationTable(RowMetric[CaseRow]):
    """Overlap, volume and surface distances of every case and structure, on each case's own grid.

    A ``torchmetrics.Metric`` whose state are the rows themselves, never sums: gathered from any number of
    processes, uneven or idle, and freed of cases that a sampler repeated, they give the same table to the
    last digit as one process does. ``compute`` returns a frozen ``CaseTable``.

    Args:
        label_names: Name of each label; 0 is background and is not measured.
        empties: See ``Summary.empties``; applied in summaries only.
        tolerances_mm: Of the normalised surface Dice; ``None`` chooses by the size of voxels, as ``measure_case`` says.
        regions: Labels of each region by its name; see ``Structures``.
        only_regions: Leave the classes out.
        convention: What counts as surface; see ``SurfaceConvention``.
        surfaces: Whether distances are measured; without, cases cost a tenth.
        ignore_label: The value of voxels in references that nobody labelled; see ``measure_case``.
        settings: Of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ConfigError: There is no label other than background, or a region, a tolerance or the ignore label does not
            fit.

    Cost:
        One pass for the counts and one for all surfaces, whatever the number of labels.

    Example:
        >>> table = SegmentationTable({0: "background", 1: "head", 2: "tail"})
        >>> ref = np.zeros((8, 8, 8), np.uint8)
        >>> ref[2:4, 2:4, 2:4], ref[5:7, 5:7, 5:7] = 1, 2
        >>> table.add("case_001", np.where(ref == 1, 1, 0), ref, spacing_mm=(1, 1, 2))
        >>> result = table.compute()
        >>> [(row.name, row.dice, row.hd95_mm) for row in result.rows]
        [('head', 1.0, 0.0), ('tail', 0.0, inf)]
        >>> summary = result.summary()
        >>> tail = summary.labels[1]
        >>> summary.class_first_mean_dice, tail.n_missed, round(tail.mean_hd95_mm, 3)
        (0.5, 1, 17.146)
    """

    text = CASE_ROWS

    def __init__(
        self,
        label_names: Mapping[int, str],
        empties: Empties | float = "diagonal",
        tolerances_mm: float | Mapping[int, float] | None = None,
        regions: Mapping[str, Collection[int]] | None = None,
        *,
        only_regions: bool = False,
        convention: SurfaceConvention | None = None,
        surfaces: bool = True,
        ignore_label: int | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        convention = convention or SurfaceConvention()
        self.structures = Structures(
            label_names, dict(regions or {}), tolerances_mm, only_regions, convention, ignore_label
        )
        self.empties = check_empties(empties)
        self.surfaces = surfaces

    def update(
        self, case_ids: Sequence[str], preds: Sequence[Any], refs: Sequence[Any], spacings_mm: Sequence[Any]
    ) -> None:
        """Measure the cases of a batch.

        Args:
            case_ids: Their names; a case may come again if it measures the same.
            preds: Integer labels ``(*S)`` of each case on its reference's grid; tensors on any device, or arrays.
            refs: Integer labels ``(*S)`` of each.
            spacings_mm: Voxel edge lengths of each, in any numeric form.

        Raises:
            ShapeError: The batch is not of one length, or the maps of a case differ in shape or are not integer.
            GeometryError: A spacing does not fit.
            DatasetError: A map holds a label without a name.
        """
        lengths = [len(part) for part in (case_ids, preds, refs, spacings_mm)]
        if len(set(lengths)) > 1 or isinstance(case_ids, str):
            raise ShapeError(
                f"expected as many predictions, references and spacings as case ids, got {lengths}"
            )
        for case_id, pred, ref, spacing_mm in zip(case_ids, preds, refs, spacings_mm, strict=True):
            on_host = _on_host(pred), _on_host(ref), _on_host(spacing_mm)
            self._keep(self.structures.measure(case_id, *on_host, surfaces=self.surfaces))

    def add(self, case_id: str, pred: Any, ref: Any, spacing_mm: Any) -> None:
        """Measure one case; see ``update``."""
        self.update([case_id], [pred], [ref], [spacing_mm])

    def merge(self, rows: Iterable[CaseRow]) -> None:
        """Take over rows measured elsewhere.

        Raises:
            DatasetError: A label is not in this table.
        """
        rows, names = list(rows), self.structures.names
        for row in rows:
            if row.label not in names:
                raise DatasetError(
                    f"case {row.case_id}: label {row.label} ({row.name}) is not in this table, "
                    f"which has {names}"
                )
        self._computed = None
        self._keep(rows)

    def compute(self) -> CaseTable:
        """The table of all processes; every process must call it, and gets it.

        Raises:
            DatasetError: A case came twice with different results.
        """
        return self._finished()

    @property
    def rows(self) -> tuple[CaseRow, ...]:
        """What this process has measured so far."""
        return self._finished().rows

    def summary(self) -> Summary:
        """The summary of what this process has measured so far."""
        return self._finished().summary()

    def _finished(self) -> CaseTable:
        return CaseTable(self._read(), self.structures.names, self.empties)


class InstanceSegmentationTable(RowMetric[InstanceRow]):
    """Objects found, missed, split and merged in every image.

    A ``torchmetrics.Metric`` as ``SegmentationTable`` is one: its state are the rows themselves, so the table is the
    same to the last digit from any number of processes. ``compute`` returns a frozen ``InstanceTable``.

    Args:
        ignore_label: The number of voxels in references that nobody labelled; see ``measure_instances``.
        settings: Of ``torchmetrics.Metric``, such as ``process_group``.

    Cost:
        See ``measure_instances``.

    Example:
        >>> table = InstanceSegmentationTable()
        >>> ref = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
        >>> table.update(["a", "b"], [ref, ref == 1], [ref, ref])
        >>> summary = table.compute().summary()
        >>> summary.found, summary.missed, summary.mean["ap_50"]
        (3, 1, 0.75)
    """

    text = INSTANCE_ROWS

    def __init__(self, ignore_label: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.ignore_label = ignore_label

    def update(self, case_ids: Sequence[str], preds: Sequence[Any], refs: Sequence[Any]) -> None:
        """Measure the images of a batch.

        Args:
            case_ids: Their names; an image may come again if it measures the same.
            preds: Object numbers ``(*S)`` of each; tensors on any device, or arrays.
            refs: Object numbers ``(*S)`` of each.

        Raises:
            ShapeError: The batch is not of one length, or the maps of an image differ in shape or are no object
                numbers.
        """
        lengths = [len(part) for part in (case_ids, preds, refs)]
        if len(set(lengths)) > 1 or isinstance(case_ids, str):
            raise ShapeError(f"expected as many predictions and references as case ids, got {lengths}")
        for case_id, pred, ref in zip(case_ids, preds, refs, strict=True):
            self._keep([measure_instances(case_id, _on_host(pred), _on_host(ref), self.ignore_label)])

    def add(self, case_id: str, pred: Any, ref: Any) -> None:
        """Measure one image; see ``update``."""
        self.update([case_id], [pred], [ref])

    def merge(self, rows: Iterable[InstanceRow]) -> None:
        """Take over rows measured elsewhere, as by ``measure_instances``."""
        self._computed = None
        self._keep(rows)

    def compute(self) -> InstanceTable:
        """The table of all processes; every process must call it, and gets it.

        Raises:
            DatasetError: An image came twice with different results.
        """
        return InstanceTable(self._read())

    @property
    def rows(self) -> tuple[InstanceRow, ...]:
        """What this process has measured so far."""
        return InstanceTable(self._read()).rows

    def summary(self) -> InstanceSummary:
        """The summary of what this process has measured so far."""
        return InstanceTable(self._read()).summary()


def _on_host(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
