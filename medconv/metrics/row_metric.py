"""Rows as the state of a torchmetrics metric, exact however cases are divided over processes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from medconv.metrics.row_text import RowText

Row = TypeVar("Row")


class RowMetric(Metric, Generic[Row]):
    """A metric whose state is the text of its rows; subclasses measure, keep and finish.

    Gathered from any number of processes, uneven or idle, and freed of cases that a sampler repeated, rows give the
    same table as one process does; sums cannot be freed of anything.
    """

    is_differentiable = False
    full_state_update = False
    text: ClassVar[RowText[Any]]
    written: list[Tensor] | Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # the lines of the CSV as bytes: no cast to half precision and no device without float64 can touch them
        self.add_state("written", default=[], dist_reduce_fx="cat")

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

    def _keep(self, rows: Iterable[Row]) -> None:
        stream = io.StringIO(newline="")
        self.text.write(rows, stream, has_header=False)
        lines = np.frombuffer(stream.getvalue().encode(), np.uint8)
        assert isinstance(self.written, list)
        self.written.append(torch.tensor(lines, device=self.device))

    def _read(self) -> Iterator[Row]:
        chunks = [self.written] if isinstance(self.written, Tensor) else self.written
        lines = bytes(dim_zero_cat(chunks).cpu().numpy()).decode() if len(chunks) else ""
        header = ",".join(self.text.all_columns)
        return self.text.read(io.StringIO(f"{header}\n{lines}", newline=""))
