"""The table while it is being filled: a metric for training loops, exact however cases are divided."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from medconv.errors import DatasetError, ShapeError
from medconv.metrics.case import TOLERANCE_MM
from medconv.metrics.case_table import CaseTable
from medconv.metrics.convention import SurfaceConvention
from medconv.metrics.rows import COLUMNS, CaseRow, read_rows, write_rows
from medconv.metrics.scores import Empties, check_empties
from medconv.metrics.structures import Structures
from medconv.metrics.summary import Summary


class SegmentationTable(Metric):
    """Overlap, volume and surface distances of every case and structure, on each case's own grid.

    A ``torchmetrics.Metric`` whose state are the rows themselves, never sums: gathered from any number of
    processes, uneven or idle, and freed of cases that a sampler repeated, they give the same table to the
    last digit as one process does. ``compute`` returns a frozen ``CaseTable``.

    Args:
        label_names: Name of each label; 0 is background and is not measured.
        empties: See ``Summary.empties``; applied in summaries only.
        tolerances_mm: Of the normalised surface Dice, as ``measure_case`` takes it.
        regions: Labels of each region by its name; see ``Structures``.
        only_regions: Leave the classes out.
        convention: What counts as surface; see ``SurfaceConvention``.
        surfaces: Whether distances are measured; without, cases cost a tenth.
        settings: Of ``torchmetrics.Metric``, such as ``process_group``.

    Raises:
        ConfigError: There is no label other than background, or a region or a tolerance does not fit.

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

    is_differentiable = False
    full_state_update = False
    written: list[Tensor] | Tensor

    def __init__(
        self,
        label_names: Mapping[int, str],
        empties: Empties | float = "diagonal",
        tolerances_mm: float | Mapping[int, float] = TOLERANCE_MM,
        regions: Mapping[str, Collection[int]] | None = None,
        *,
        only_regions: bool = False,
        convention: SurfaceConvention | None = None,
        surfaces: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.structures = Structures(
            label_names, dict(regions or {}), tolerances_mm, only_regions, convention or SurfaceConvention()
        )
        self.empties = check_empties(empties)
        self.surfaces = surfaces
        # the lines of the CSV as bytes: no cast to half precision and no device without float64 can touch them
        self.add_state("written", default=[], dist_reduce_fx="cat")

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
        return self._read()

    def sync(self, *args: Any, **settings: Any) -> None:
        """As torchmetrics does, also for a process that has measured nothing."""
        if isinstance(self.written, list) and not self.written:
            # the placeholder of torchmetrics is of another type than the other processes' bytes
            self.written.append(torch.empty(0, dtype=torch.uint8, device=self.device))
        super().sync(*args, **settings)

    @property
    def update_called(self) -> bool:
        """Always true: a process without a case has a table too, an empty one."""
        return True

    @property
    def rows(self) -> tuple[CaseRow, ...]:
        """What this process has measured so far."""
        return self._read().rows

    def summary(self) -> Summary:
        """The summary of what this process has measured so far."""
        return self._read().summary()

    def _keep(self, rows: Iterable[CaseRow]) -> None:
        stream = io.StringIO(newline="")
        write_rows(rows, stream, has_header=False)
        lines = np.frombuffer(stream.getvalue().encode(), np.uint8)
        assert isinstance(self.written, list)
        self.written.append(torch.tensor(lines, device=self.device))

    def _read(self) -> CaseTable:
        chunks = [self.written] if isinstance(self.written, Tensor) else self.written
        lines = bytes(dim_zero_cat(chunks).cpu().numpy()).decode() if len(chunks) else ""
        stream = io.StringIO(",".join(COLUMNS) + "\n" + lines, newline="")
        return CaseTable(read_rows(stream), self.structures.names, self.empties)


def _on_host(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
