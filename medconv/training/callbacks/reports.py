"""How a run tells what it does: one line an epoch, and the seconds it waited for data."""

from __future__ import annotations

import logging
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torchmetrics import Metric

from medconv.training.log_steps import log_known, logs_now

log = logging.getLogger("medconv")


class DataWait(pl.Callback):
    """Log the seconds of each epoch in which training stood still for the next batch.

    Counted from the end of one training batch to the start of the next, validation left out; logged as
    ``wait_s`` and shown in the progress bar. Near zero: the step is the limit. Large: the loader is. A GPU counts by
    its own clock: the host, which runs ahead of it, may wait for as long as it likes. Nobody waits for that clock:
    what is logged in the middle of an epoch are the seconds up to where the GPU has got, and ``waited_s`` is complete
    when the epoch has ended.
    """

    def __init__(self) -> None:
        self.waited_s = 0.0
        self._clock: _HostClock | _DeviceClock = _HostClock()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count."""
        del trainer
        self.waited_s = 0.0
        self._clock = _DeviceClock() if pl_module.device.type == "cuda" else _HostClock()
        self._clock.stop_working()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count what has passed since the last batch ended."""
        del batch
        self._clock.begin_to_work()
        if logs_now(trainer, batch_idx):
            self.waited_s += self._clock.take_waited_s()
            log_known(pl_module, "wait_s", self.waited_s)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Begin to wait."""
        del trainer, pl_module, outputs, batch, batch_idx
        self._clock.stop_working()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation is not waiting."""
        del trainer, pl_module
        self._clock.forget()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the last batches too."""
        del trainer, pl_module
        self._clock.forget()
        self._clock.catch_up()
        self.waited_s += self._clock.take_waited_s()


class _HostClock:
    """Seconds between the end of one piece of work and the beginning of the next, by the host's clock."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._waited_s = 0.0

    def stop_working(self) -> None:
        """Work ends now."""
        self._since = time.perf_counter()

    def begin_to_work(self) -> None:
        """Work begins now."""
        if self._since is not None:
            self._waited_s += time.perf_counter() - self._since
        self._since = None

    def forget(self) -> None:
        """What follows is no waiting."""
        self._since = None

    def catch_up(self) -> None:
        """The host's clock never lags behind."""

    def take_waited_s(self) -> float:
        """Seconds since they were last taken."""
        waited_s, self._waited_s = self._waited_s, 0.0
        return waited_s


class _DeviceClock:
    """The same by the clock of the GPU that works, which lags behind the host."""

    def __init__(self) -> None:
        self._since: torch.cuda.Event | None = None
        self._waits: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def stop_working(self) -> None:
        """Work ends with what has been started so far."""
        self._since = _now()

    def begin_to_work(self) -> None:
        """Work begins with what is started next."""
        if self._since is not None:
            self._waits.append((self._since, _now()))
        self._since = None

    def forget(self) -> None:
        """What follows is no waiting."""
        self._since = None

    def catch_up(self) -> None:
        """Wait until the device has begun the last work."""
        if self._waits:
            self._waits[-1][1].synchronize()

    def take_waited_s(self) -> float:
        """Seconds since they were last taken, up to the last work that the device has begun."""
        begun = 0
        while begun < len(self._waits) and self._waits[begun][1].query():
            begun += 1
        waits, self._waits = self._waits[:begun], self._waits[begun:]
        return sum(begin.elapsed_time(end) for begin, end in waits) / 1000


def _now() -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


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
        words.append(f"{time.perf_counter() - self._start_s:.2f} s (waited for data {wait:.2f} s)")
        log.info("  ".join(words))
