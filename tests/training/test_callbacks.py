from __future__ import annotations

import logging
import re
import time
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from medconv.errors import MedconvError
from medconv.training import DataWait, EpochReport, RandomState, StopOnNonFinite
from medconv.training.callbacks.reports import _DeviceClock

PAUSE_S = 0.03


class SlowNumbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        time.sleep(PAUSE_S)
        return torch.tensor([float(index)])


class Line(pl.LightningModule):
    def __init__(self, broken_from=None):
        super().__init__()
        self.layer, self.broken_from, self.drawn = nn.Linear(1, 1), broken_from, []

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).square().mean()
        self.drawn.append(torch.rand(()).item())
        broken = self.broken_from is not None and self.global_step >= self.broken_from
        return loss * float("nan") if broken else loss

    def on_train_epoch_end(self):
        self.log("train/loss", torch.tensor(0.5))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader():
    # as our data modules do: with a generator of its own a loader does not draw from the global one
    return DataLoader(SlowNumbers(), generator=torch.Generator())


def fit(tmp_path, model, *callbacks, **settings):
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        **({"max_epochs": 1, "enable_checkpointing": False} | settings),
    )
    trainer.fit(model, loader(), ckpt_path=None)
    return trainer


def test_waiting_for_a_slow_loader_is_measured(tmp_path):
    wait = DataWait()
    fit(tmp_path, Line(), wait)
    assert 4 * PAUSE_S <= wait.waited_s < 4 * PAUSE_S + 0.5


def test_validation_inside_an_epoch_is_no_waiting(tmp_path):
    class Validated(Line):
        def val_dataloader(self):
            return DataLoader(torch.zeros(1, 1), generator=torch.Generator())

        def validation_step(self, batch, batch_idx):
            del batch, batch_idx
            time.sleep(0.5)

    wait = DataWait()
    fit(tmp_path, Validated(), wait, val_check_interval=2, num_sanity_val_steps=0)
    # the batch after a validation was fetched before it, or is fetched outside what is counted
    assert 2 * PAUSE_S <= wait.waited_s < 0.5


@pytest.mark.gpu
def test_a_gpu_counts_by_its_own_clock():
    clock = _DeviceClock()
    torch.cuda._sleep(
        400_000_000
    )  # the device is busy for so long that it has reached nothing of what follows
    for _ in range(3):
        torch.cuda._sleep(1_000_000)  # work, which is no waiting
        clock.stop_working()
        torch.cuda._sleep(20_000_000)  # about ten milliseconds at two gigahertz
        clock.begin_to_work()
    assert clock.take_waited_s() == 0
    clock.catch_up()
    waited_s = clock.take_waited_s()
    assert 0.02 < waited_s < 0.2
    assert clock.take_waited_s() == 0


def test_the_clock_of_a_device_counts_what_it_has_reached_and_is_not_waited_for(monkeypatch):
    class Event:
        def __init__(self):
            events.append(self)
            self.at_ms, self.waited_for = 10.0 * len(events) ** 2, False

        def query(self):
            return self.waited_for or events.index(self) < device.reached

        def synchronize(self):
            self.waited_for = True

        def elapsed_time(self, other):
            assert self.query()
            assert other.query()
            return other.at_ms - self.at_ms

    events, device = [], SimpleNamespace(reached=0)
    monkeypatch.setattr("medconv.training.callbacks.reports._now", Event)
    clock = _DeviceClock()
    for _ in range(3):
        clock.stop_working()
        clock.begin_to_work()
    taken_ms = []
    for device.reached in range(6):
        taken_ms.append(pytest.approx(1000 * clock.take_waited_s()))
    # the squares 1 4 9 16 25 36, in pairs: 30, 70 and 110, each when its end is reached
    assert taken_ms == [0, 0, 30, 0, 70, 0]
    assert not any(event.waited_for for event in events)
    clock.catch_up()
    assert [event.waited_for for event in events] == [False] * 5 + [True]
    assert 1000 * clock.take_waited_s() == pytest.approx(110)
    clock.catch_up()
    assert clock.take_waited_s() == 0


def test_the_epoch_line_tells_loss_and_seconds(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="medconv"):
        fit(tmp_path, Line(), DataWait(), EpochReport(), max_epochs=2)
    lines = [r.message for r in caplog.records if r.name == "medconv"]
    assert [line.split()[:2] for line in lines] == [["epoch", "0"], ["epoch", "1"]]
    assert re.search(r"waited for data 0\.[12]\d s", lines[1]), lines


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    with pytest.raises(MedconvError, match="the loss is nan at step 2"):
        fit(tmp_path, Line(broken_from=1), StopOnNonFinite(every_n_steps=1))


def test_a_single_bad_step_does_not_stop_the_run(tmp_path):
    class OneBad(Line):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * (float("inf") if self.global_step == 1 else 1.0)

        def on_before_optimizer_step(self, optimizer):
            for parameter in self.parameters():
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)

    assert fit(tmp_path, OneBad(), StopOnNonFinite(every_n_steps=1)).global_step == 4


def test_random_numbers_continue_where_the_checkpoint_was_written(tmp_path):
    torch.manual_seed(5)
    whole = Line()
    fit(tmp_path, whole, RandomState(), max_epochs=2)

    torch.manual_seed(5)
    first = Line()
    trainer = fit(tmp_path, first, RandomState())
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(999)
    second = Line()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[RandomState()],
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
    )
    trainer.fit(second, loader(), ckpt_path=tmp_path / "half.ckpt")
    assert first.drawn + second.drawn == whole.drawn
