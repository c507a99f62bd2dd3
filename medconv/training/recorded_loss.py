"""The loss of a batch from a recorded step where that works, from an ordinary one elsewhere."""

from __future__ import annotations

import warnings
from typing import Literal

from torch import Tensor, nn

from medconv.training.gradient_exchange import GradientExchange, exchange_for
from medconv.training.graphed_step import GraphedStep, LossOfBatch


class RecordedLoss:
    """A step is recorded from the first batch, and replayed for all batches of its shape.

    Several processes average the gradients of a replayed step in one call (``exchange_over``), where a step changes no
    buffers: those only the wrapper of distributed training makes equal again.

    Args:
        loss_of_batch: See ``GraphedStep``.
        module: See ``GraphedStep``.
        wanted: Whether to record; ``"auto"``: wherever that works.
    """

    def __init__(self, loss_of_batch: LossOfBatch, module: nn.Module, wanted: bool | Literal["auto"]) -> None:
        self.loss_of_batch, self.module, self.wanted = loss_of_batch, module, wanted
        self._works = False
        self._step: GraphedStep | None = None
        self._exchange: GradientExchange | None = None

    def prepare(self, *, on_gpu: bool, precision: str) -> None:
        """Decide whether steps can be recorded; say so where that was asked for in vain."""
        self._step, self._exchange, reason = None, None, None
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
        self.begin_step()
        self._works, self._step, self._exchange = False, None, None

    def exchange_over(self, wrapper: object) -> None:
        """Average gradients in place of the wrapper of distributed training, if there is one and it can be replaced."""
        self._exchange = exchange_for(wrapper) if self._works else None

    def begin_step(self) -> None:
        """A step begins, of which nobody knows yet whether it is replayed."""
        if self._exchange is not None:
            self._exchange.hand_back()

    def __call__(self, image: Tensor, label: Tensor) -> Tensor:
        """The loss, from which ``backward`` gives the gradients."""
        if self._works and self._step is None:
            self._record(image, label)
        if self._step is None or not self._step.trains_the_same():
            return self.loss_of_batch(image, label)
        if self._exchange is not None:
            self._exchange.take_over()
            return self._step.averaged(image, label, self._exchange.average)
        return (self._step if self._step.fits(image, label) else self.loss_of_batch)(image, label)

    def _record(self, image: Tensor, label: Tensor) -> None:
        is_flat = self._exchange is not None
        try:
            self._step = GraphedStep(self.loss_of_batch, self.module, image, label, is_flat=is_flat)
        except RuntimeError as error:
            self._works = False
            warnings.warn(f"training goes on without a CUDA graph: {error}", stacklevel=3)
        can_exchange = self._step is not None and not self._step.changes_buffers
        if self._exchange is not None and not self._exchange.all_say(can_exchange):
            self._exchange = None

    def forget(self) -> None:
        """Give the memory of the recorded step back."""
        self.begin_step()
        self._step = self._exchange = None
