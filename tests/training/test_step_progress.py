"""The progress bar shows what was logged, and no training step asks the device for figures."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from jsonargparse import Namespace
from lagging_device import LaggingDevice
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from tiny_training_data import tiny_data

from medconv.cli.watchers import progress_bar
from medconv.models import UNet
from medconv.training import DataWait, SegmentationTask, StepProgress, StopOnNonFinite
from medconv.training.log_steps import has_logged, logs_now


def fit(tiny_dataset, folder, *callbacks, accelerator="cpu", steps=12, every=4, logger=False):
    data = tiny_data(tiny_dataset, folder, steps)
    task = SegmentationTask(UNet(3, 1, 3, channels=(4, 8)), surface_every=100)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator=accelerator,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=any(isinstance(c, StepProgress) for c in callbacks),
        enable_model_summary=False,
        limit_val_batches=0,
        log_every_n_steps=every,
        gradient_clip_val=12.0,
        default_root_dir=folder,
        callbacks=list(callbacks),
    )
    trainer.fit(task, datamodule=data)
    return trainer


class Fetches(StepProgress):
    """Keeps what stood behind the bar after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[dict[str, object]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self.seen.append(self.get_metrics(trainer, pl_module) | {"loss": float(outputs["loss"])})


@pytest.mark.parametrize(("every", "steps"), [(0, [0]), (1, [0, 1, 2, 3, 4, 5]), (3, [0, 2, 5])])
def test_figures_are_fetched_at_the_steps_that_logged_them(every, steps):
    def trainer(done):
        return SimpleNamespace(log_every_n_steps=every, global_step=done)

    assert [n for n in range(6) if logs_now(trainer(n), n)] == steps
    assert [n for n in range(6) if has_logged(trainer(n + 1), n)] == steps


@pytest.mark.filterwarnings("ignore:.*GPU available but not used")
def test_the_bar_shows_the_loss_of_the_last_logged_step(tiny_dataset, tmp_path):
    bar = Fetches()
    fit(tiny_dataset, tmp_path, DataWait(), bar)
    losses = [seen["loss"] for seen in bar.seen]
    shown = [seen["train/loss_step"] for seen in bar.seen]
    # logged: the first step, then every fourth
    assert shown == pytest.approx([losses[max(n for n in (0, 3, 7, 11) if n <= i)] for i in range(12)])
    assert all(seen["wait_s"] >= 0 for seen in bar.seen)


@pytest.mark.parametrize("every", [1, 4])
def test_the_bar_shows_figures_when_they_have_come_and_waits_for_none(
    tiny_dataset, tmp_path, monkeypatch, every
):
    lag = 2
    bar, device = Fetches(), LaggingDevice(lag)
    device.pretend(monkeypatch)
    fit(tiny_dataset, tmp_path, device, bar, every=every)
    losses = [seen["loss"] for seen in bar.seen]
    logged = [0, *range(every - 1, 12, every)]
    for step, seen in enumerate(bar.seen):
        come = [n for n in logged if n + lag <= step]
        assert seen.get("train/loss_step") == (pytest.approx(losses[come[-1]]) if come else None)
    assert set(device.waited_in) == {12}  # after the last step
    assert bar.get_metrics(bar.trainer, None)["train/loss_step"] == pytest.approx(losses[11])


def test_a_bar_of_the_user_or_none_is_left_alone():
    assert len(progress_bar("fit", Namespace(enable_progress_bar=True))) == 1
    assert progress_bar("fit", Namespace(enable_progress_bar=False)) == []
    assert progress_bar("test", Namespace(enable_progress_bar=True)) == []
    assert progress_bar("fit", Namespace(enable_progress_bar=True, callbacks=[TQDMProgressBar()])) == []


class Strict(pl.Callback):
    """Makes every wait for the GPU an error, from the first logged step to the end of the epoch's last batch."""

    def __init__(self) -> None:
        self.steps = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        del pl_module, outputs, batch
        strict = batch_idx > trainer.log_every_n_steps and not trainer.is_last_batch
        self.steps += strict
        torch.cuda.set_sync_debug_mode("error" if strict else "default")

    def on_train_end(self, trainer, pl_module):
        del trainer, pl_module
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_no_step_waits_for_a_gpu_whether_it_is_logged_or_not(tiny_dataset, tmp_path):
    strict, wait = Strict(), DataWait()
    watchers = (wait, StopOnNonFinite(every_n_steps=10), StepProgress(), strict)
    logger = CSVLogger(tmp_path / "log", name="", version="")
    try:
        fit(tiny_dataset, tmp_path, *watchers, accelerator="gpu", steps=60, every=10, logger=logger)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert strict.steps == 48
    assert wait.waited_s > 0
    rows = list(csv.DictReader((tmp_path / "log" / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows if row["train/loss_step"]] == [9, 19, 29, 39, 49, 59]
    assert [int(row["step"]) for row in rows if row["wait_s"]] == [9, 19, 29, 39, 49, 59]
