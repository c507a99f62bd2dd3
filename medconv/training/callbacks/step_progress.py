"""The progress bar of training, which asks the device for its figures now and then instead of after every step."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import TQDMProgressBar

from medconv.training.log_steps import has_logged

_SHOWN = ("train/loss_step", "wait_s")


class StepProgress(TQDMProgressBar):
    """Lightning's progress bar with the last logged loss and the seconds waited for data.

    What is logged with ``prog_bar=True`` Lightning fetches from the device after every step, shown or not. The host
    then never gets ahead of the device, and a small network's step takes a third longer. So training logs nothing that
    way, and another bar shows no loss; here the figures of logged steps are fetched when they are logged.
    """

    def __init__(self) -> None:
        super().__init__()
        self._figures: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Fetch the figures of a logged step, then draw the bar."""
        if has_logged(trainer, batch_idx):
            logged = trainer.callback_metrics
            self._figures = {name: float(logged[name]) for name in _SHOWN if name in logged}
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What stands behind the bar."""
        return {**super().get_metrics(trainer, pl_module), **self._figures}
