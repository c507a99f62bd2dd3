"""Cases measured behind inference: while the network predicts the next one, threads measure the last."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medconv.evaluation.measure import measure_maps
from medconv.inference import separate
from medconv.metrics import (
    CaseRow,
    InstanceRow,
    InstanceSegmentationTable,
    SegmentationTable,
    measure_instances,
)
from medconv.transforms import Preprocessor
from medconv.transforms.decide import decide

Rows = Future[list[CaseRow]]
Objects = Future[npt.NDArray[Any]]


class MeasuringQueue:
    """Fill a table without waiting for it.

    Threads, not processes: a process of its own would not slow the thread that feeds a GPU, but it starts in
    seconds, runs a user's script a second time where that has no guard, and small cases, where feeding is what
    takes the time, gain nothing by it. The rows are those of ``SegmentationTable.update``, whichever thread made them.

    Args:
        table: Gets the rows in ``finish``.
        threads: Cases measured at a time.
        objects: Gets what was found of single objects, where the network tells them apart.

    Example:
        >>> import numpy as np
        >>> labels = np.ones((4, 4), np.uint8)
        >>> queue = MeasuringQueue(SegmentationTable({1: "cell"}))
        >>> rows = queue.add("case_001", labels, labels, (1.0, 1.0))
        >>> queue.finish()
        >>> rows.result()[0].dice, len(queue.table.rows)
        (1.0, 1)
    """

    def __init__(
        self, table: SegmentationTable, threads: int = 2, objects: InstanceSegmentationTable | None = None
    ) -> None:
        self.table, self.objects = table, objects
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="measuring")
        self._most_waiting = 2 * threads
        self._waiting: deque[Rows] = deque()
        self._rows: list[CaseRow] = []
        self._object_rows: list[InstanceRow] = []

    def add(self, case_id: str, pred: Any, ref: Any, spacing_mm: Sequence[float] | None) -> Rows:
        """Measure one case soon; waits if so many are under way that they would pile up in memory.

        Args:
            case_id: Its name.
            pred: Integer labels ``(*S)`` on the reference's grid, in the memory of the host.
            ref: Integer labels ``(*S)``.
            spacing_mm: Voxel edge lengths; ``None`` where nobody knows how large a pixel is.

        Raises:
            MedconvError: An earlier case could not be measured, as ``SegmentationTable.update`` says.
        """
        self._collect(self._most_waiting - 1)
        rows = self._pool.submit(self._measure, case_id, pred, ref, spacing_mm)
        self._waiting.append(rows)
        return rows

    def add_prediction(
        self, batch: Mapping[str, Any], logits: Tensor, preprocessor: Preprocessor
    ) -> dict[str, Any]:
        """Measure what a network says of a case.

        Args:
            batch: Of a ``CaseDataset``.
            logits: ``(K, *S')``, on the network's grid and any device.
            preprocessor: Knows the way back to the stored grid.

        Returns:
            ``case_id``; ``labels``, on the network's grid and the logits' device; ``rows``, once they are measured; and
            ``objects`` on the stored grid, once they are told apart, where the network does that.
        """
        plan = preprocessor.plan
        found: dict[str, Any] = {}
        if plan.instances is not None:
            found["objects"], found["rows"] = self._add_objects(batch, logits, preprocessor)
        else:
            found["rows"] = self._add_labels(batch, logits, preprocessor)
        labels = decide(logits, plan.regions_class_order).to(
            torch.uint8 if plan.num_classes <= 256 else torch.int32
        )
        return {"case_id": batch["case_id"], "labels": labels, **found}

    def _add_labels(self, batch: Mapping[str, Any], logits: Tensor, preprocessor: Preprocessor) -> Rows:
        prediction = preprocessor.restore(logits, batch["record"])
        return self.add(batch["case_id"], prediction, batch["label"], batch["spacing_mm"])

    def _add_objects(
        self, batch: Mapping[str, Any], logits: Tensor, preprocessor: Preprocessor
    ) -> tuple[Objects, Rows]:
        record = batch["record"]
        fields = np.empty((2, *record.shape), np.float16)
        preprocessor.restore_fields(preprocessor.rows_of(logits, record), record, fields)
        self._collect(self._most_waiting - 1)
        objects = self._pool.submit(separate, fields)
        rows = self._pool.submit(
            self._measure_objects, batch["case_id"], objects, batch["label"], batch["spacing_mm"]
        )
        self._waiting.append(rows)
        return objects, rows

    def _measure_objects(
        self, case_id: str, objects: Objects, drawn: Any, spacing_mm: Sequence[float] | None
    ) -> list[CaseRow]:
        """Each object, and all together as of one class."""
        found = objects.result()  # they are handed in before this, so a thread has them in work at least
        if self.objects is not None:
            self._object_rows.append(measure_instances(case_id, found, drawn))
        pred, ref = ((side > 0).view(np.uint8) for side in (found, np.asarray(drawn)))
        return self._measure(case_id, pred, ref, spacing_mm)

    def _measure(
        self, case_id: str, pred: Any, ref: Any, spacing_mm: Sequence[float] | None
    ) -> list[CaseRow]:
        if ref.ndim == 3 and ref.shape[-1] == 1:  # of a slice in three axes every voxel lies on a surface
            pred, ref, spacing_mm = pred[..., 0], ref[..., 0], spacing_mm and spacing_mm[:2]
        surfaces = self.table.surfaces and spacing_mm is not None
        return measure_maps(case_id, pred, ref, spacing_mm, self.table.structures, surfaces=surfaces)

    def finish(self) -> None:
        """Wait for every case and hand all rows to the table.

        Raises:
            MedconvError: A case could not be measured, as ``SegmentationTable.update`` says.
        """
        self._collect(0)
        self.table.merge(self._rows)
        if self.objects is not None:
            self.objects.merge(self._object_rows)
        self.close()

    def close(self) -> None:
        """Forget what is not measured yet; the threads end with the case that they are at."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._waiting.clear()
        self._rows, self._object_rows = [], []

    def _collect(self, most_waiting: int) -> None:
        while self._waiting and (len(self._waiting) > most_waiting or self._waiting[0].done()):
            try:
                self._rows += self._waiting.popleft().result()
            except BaseException:
                self.close()
                raise
