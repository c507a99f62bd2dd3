"""The loss of a batch from a recorded step where that works, from an ordinary one elsewhere."""

from __future__ import annotations

import warnings
from typing import Literal

from torch import Tensor, nn

from medconv.training.graphed_step import GraphedStep, LossOfBatch


class RecordedLoss:
    """A step is recorded from the first batch, and replayed for all batches of its shape.

    Args:
        loss_of_batch: See ``GraphedStep``.
        module: See ``GraphedStep``.
        wanted: Whether to record; ``"auto"``: wherever that works.
    """

    def __init__(self, loss_of_batch: LossOfBatch, module: nn.Module, wanted: bool | Literal["auto"]) -> None:
        self.loss_of_batch, self.module, self.wanted = loss_of_batch, module, wanted
        self._works = False
        self._step: GraphedStep | None = None

    def prepare(self, *, on_gpu: bool, precision: str) -> None:
        """Decide whether steps can be recorded; say so where that was asked for in vain."""
        self._step, reason = None, None
        if not on_gpu:
            reason = "it needs a GPU"
        elif precision == "16-mixed":
            reason = "float16 gradients would underflow; use bf16-mixed"
        self._works = bool(self.wanted)
        if reason:
            self.refuse(reason)

    def refuse(self, reason: str) -> None:
        """Record nothing, because of something that a replay would not repeat."""
        if self.wanted is True:
            warnings.warn(f"model.cuda_graph has no effect: {reason}", stacklevel=2)
        self._works, self._step = False, None

    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """The loss, from which ``backward`` gives the gradients."""
        if self._works and self._step is None:
            try:
                self._step = GraphedStep(self.loss_of_batch, self.module, image, label)
            except RuntimeError as error:
                self._works = False
                warnings.warn(f"training goes on without a CUDA graph: {error}", stacklevel=2)
        if self._step is not None and self._step.fits(image, label):
            return self._step(image, label)
        return self.loss_of_batch(image, label)

    def forget(self) -> None:
        """Give the memory of the recorded step back."""
        self._step = None
