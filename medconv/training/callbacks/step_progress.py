"""The progress bar of training, which shows figures when they have come from the device and never waits for them."""

from __future__ import annotations

from collections import deque
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar

from medconv.training.callbacks.step_loss import STEP_LOSS
from medconv.training.log_steps import has_logged
from medconv.training.on_the_way import OnTheWay

_SHOWN = (STEP_LOSS, "wait_s")


class StepProgress(TQDMProgressBar):
    """Lightning's progress bar with the last logged loss and the seconds waited for data.

    What is logged with ``prog_bar=True`` Lightning fetches from the device after every step, shown or not. The host
    then never gets ahead of the device, and a small network's step takes a third longer. So training logs nothing that
    way, and another bar shows no loss; here the figures of logged steps are sent for when they are logged, and shown
    when they have come: on the CPU at once, on a GPU when it has got that far, some steps later.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sent: deque[dict[str, OnTheWay]] = deque()
        self._figures: dict[str, float] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the figures of an earlier run."""
        self._sent.clear()
        self._figures = {}
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send for the figures of a logged step, then draw the bar with those that have come."""
        if has_logged(trainer, batch_idx):
            logged = trainer.callback_metrics
            self._sent.append({name: OnTheWay(logged[name]) for name in _SHOWN if name in logged})
        while self._sent and all(figure.have_arrived() for figure in self._sent[0].values()):
            self._show_next()
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the bar of an epoch that is over stand with its last figures."""
        while self._sent:
            self._show_next()
        super().on_train_epoch_end(trainer, pl_module)

    def _show_next(self) -> None:
        self._figures = {name: figure.numbers()[0] for name, figure in self._sent.popleft().items()}

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        return {**super().get_metrics(trainer, pl_module), **self._figures}
