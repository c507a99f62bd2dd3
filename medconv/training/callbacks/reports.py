"""How a run tells what it does: one line an epoch, and the seconds it waited for data."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning.pytorch as pl
from torchmetrics import Metric

from medconv.training.log_steps import logs_now

log = logging.getLogger("medconv")


class DataWait(pl.Callback):
    """Log the seconds of each epoch in which training stood still for the next batch.

    Counted from the end of one training batch to the start of the next, validation left out; logged as
    ``wait_s`` and shown in the progress bar. Near zero: the device is the limit. Large: the loader is.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._since: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        del trainer, pl_module
        self.waited_s, self._since = 0.0, time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add what has passed since the last batch ended."""
        del batch
        if self._since is not None:
            self.waited_s += time.perf_counter() - self._since
            self._since = None
        if not logs_now(trainer, batch_idx):
            return
        pl_module.log("wait_s", self.waited_s, prog_bar=True, on_step=True, on_epoch=False, batch_size=1)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin to wait."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is not waiting."""
        del trainer, pl_module
        self._since = None


class EpochReport(pl.Callback):
    """One line an epoch in the log ``medconv``: loss, Dice, learning rate, seconds, seconds waited for data.

    The loss is the task's ``train_loss`` (a metric over all ranks), if it keeps one.
    """

    def __init__(self) -> None:
        self._start_s = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self._start_s = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the line on rank 0; every rank takes part in the mean."""
        metrics = dict(trainer.callback_metrics)
        loss = getattr(pl_module, "train_loss", None)
        if isinstance(loss, Metric) and loss.update_called:
            metrics["train/loss"] = loss.compute()
        if not trainer.is_global_zero:
            return
        words = [f"epoch {trainer.current_epoch:4d}"]
        for title, key, form in (
            ("loss", "train/loss", ".4f"),
            ("dice", "val/dice", ".4f"),
            ("lr", "lr", ".2e"),
        ):
            if key in metrics:
                words.append(f"{title} {float(metrics[key]):{form}}")
        wait = next((c.waited_s for c in trainer.callbacks if isinstance(c, DataWait)), 0.0)  # type: ignore[attr-defined]
        words.append(f"{time.perf_counter() - self._start_s:.1f} s (waited for data {wait:.1f} s)")
        log.info("  ".join(words))
