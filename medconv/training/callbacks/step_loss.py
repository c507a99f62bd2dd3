"""The losses of single steps for the loggers, which get them when they have come from the device."""

from __future__ import annotations

from collections import deque

import lightning.pytorch as pl

from medconv.training.log_steps import writes_down
from medconv.training.on_the_way import OnTheWay

STEP_LOSS = "train/loss_step"


class StepLoss(pl.Callback):
    """Write the loss of every ``log_every_n_steps``-th step to the loggers, under the step and epoch it belongs to.

    Lightning fetches what it logs as soon as a step has been started, and waits for the device to get there. So the
    task logs its loss with ``logger=False``: callbacks find it in ``callback_metrics``, and here it is written, in a
    row of its own, when it has come, on a GPU some steps later. What the host knows itself (learning rate, seconds)
    Lightning writes in the row of that step. An epoch ends, and a validation begins, with nothing left on its way;
    where a run fails, the losses of its last few steps may be missing.
    """

    def __init__(self) -> None:
        self._step = 0
        self._sent: deque[tuple[int, int, OnTheWay]] = deque()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin where the run stands, with nothing left of an earlier one."""
        del pl_module
        self._step = trainer.global_step
        self._sent.clear()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        """Send for the loss of a step that is written down; write those that have come."""
        del pl_module
        has_stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if has_stepped and writes_down(trainer) and STEP_LOSS in trainer.callback_metrics:
            loss = OnTheWay(trainer.callback_metrics[STEP_LOSS])
            # Lightning, too, counts the steps of its rows from 0
            self._sent.append((self._step - 1, trainer.current_epoch, loss))
        while self._sent and self._sent[0][2].have_arrived():
            self._write_next(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what was logged before the validation before what it logs itself."""
        if not trainer.sanity_checking:
            self.on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write all that is on its way; the host has to wait here for the figures of the epoch anyway."""
        del pl_module
        while self._sent:
            self._write_next(trainer)

    def _write_next(self, trainer: pl.Trainer) -> None:
        step, epoch, loss = self._sent.popleft()
        for logger in trainer.loggers:
            logger.log_metrics({STEP_LOSS: loss.numbers()[0], "epoch": epoch}, step=step)
            logger.save()
