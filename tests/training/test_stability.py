"""A loss that is no number, in a run on files: what is told, and what is left."""

from __future__ import annotations

import re

import lightning.pytorch as pl
import pytest
import torch
from lagging_device import LaggingDevice
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch.utils.data import DataLoader

from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError, MedconvError
from medconv.training import LastCheckpoint, StopOnNonFinite, build_task

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [2, 4]},
}


class Poison(pl.Callback):
    """Make the weights NaN after a step, as a bad gradient does; note the cases of the next batch."""

    def __init__(self, step):
        self.step, self.cases = step, None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            self.cases = [trainer.datamodule.training_set.cases[int(i)].case_id for i in batch["case"]]
            with torch.no_grad():
                next(pl_module.network.parameters()).fill_(float("nan"))


class Wrong(pl.LightningModule):
    """Has a loss that is no number in some steps, counted from 1, and learns nothing."""

    def __init__(self, *wrong):
        super().__init__()
        self.layer, self.wrong = torch.nn.Linear(1, 1), wrong

    def training_step(self, batch, batch_idx):
        is_wrong = self.global_step + 1 in self.wrong
        return self.layer(batch).sum() * 0 + (float("nan") if is_wrong else 1.0)

    def validation_step(self, batch, batch_idx):
        del batch, batch_idx

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def stop(folder, stopping, device, *wrong, steps=12, epochs=1, **settings):
    """The step at which a run stops, and what it says."""
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[device, stopping],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
        max_epochs=epochs,
        **({"limit_val_batches": 0} | settings),
    )
    numbers = torch.ones(steps, 1)
    try:
        trainer.fit(Wrong(*wrong), DataLoader(numbers), DataLoader(numbers))
    except MedconvError as told:
        return trainer.global_step, str(told).split(" and")[0]
    return trainer.global_step, ""


BAD_FROM_5 = range(5, 99)


@pytest.mark.parametrize(
    ("lag", "at"),
    [(None, 6), (0, 8), (1, 8), (2, 8), (5, 8)],  # judged at once, or one look after the second bad one
)
def test_numbers_that_come_late_stop_a_run_one_look_later(tmp_path, monkeypatch, lag, at):
    device = LaggingDevice(lag or 0)
    if lag is not None:
        device.pretend(monkeypatch)
    stopping = StopOnNonFinite(every_n_steps=2, patience=1)
    assert stop(tmp_path, stopping, device, *BAD_FROM_5) == (at, "the loss is nan at step 5")
    # a device that is more than a look behind is waited for until it has done the last look, not all
    assert device.waited_in == ([4, 6, 8] if lag == 5 else [])


@pytest.mark.parametrize("lag", [0, 3])
def test_a_single_bad_look_that_comes_late_does_not_stop_a_run(tmp_path, monkeypatch, lag):
    device = LaggingDevice(lag)
    device.pretend(monkeypatch)
    stopping = StopOnNonFinite(every_n_steps=2, patience=2)
    assert stop(tmp_path, stopping, device, 3, 4, 7) == (12, "")
    assert stop(tmp_path, stopping, device, 3, 4, 7, 8, 9, 10) == (12, "the loss is nan at step 7")


@pytest.mark.parametrize("lag", [None, 0, 9])
def test_a_run_whose_last_look_is_bad_does_not_end_as_if_it_was_sound(tmp_path, monkeypatch, lag):
    device = LaggingDevice(lag or 0)
    if lag is not None:
        device.pretend(monkeypatch)
    stopping = StopOnNonFinite(every_n_steps=3, patience=1)
    assert stop(tmp_path, stopping, device, 12) == (12, "the loss is nan at step 12")
    assert stop(tmp_path, stopping, device, 11, 12, max_steps=12, epochs=-1) == (
        12,
        "the loss is nan at step 11",
    )


def test_what_is_on_its_way_is_judged_before_a_validation(tmp_path, monkeypatch):
    class Validated(LaggingDevice):
        def on_validation_epoch_start(self, trainer, pl_module):
            seen.append(trainer.global_step)

    device, seen = Validated(9), []
    device.pretend(monkeypatch)
    settings = {"val_check_interval": 4, "num_sanity_val_steps": 1, "limit_val_batches": 1}
    found = stop(tmp_path, StopOnNonFinite(4, patience=1), device, *BAD_FROM_5, **settings)
    assert found == (8, "the loss is nan at step 5")
    assert seen == [0, 4]


@pytest.mark.parametrize("store", ["disk", "device"])
def test_step_cases_and_the_last_sound_checkpoint_are_named(tiny_dataset, tmp_path, store, caplog):
    data = NiftiDataModule(
        tiny_dataset,
        patch_size=[16, 16, 8],
        batch_size=2,
        steps_per_epoch=3,
        num_folds=2,
        num_workers=0,
        store=store,
        cache_dir=tmp_path / "cache",
    )
    data.prepare_plan()
    poison, folder = Poison(4), tmp_path / "run"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=9,
        callbacks=[
            poison,
            StopOnNonFinite(every_n_steps=4, patience=2),
            LastCheckpoint(filename="last", dirpath=folder, enable_version_counter=False),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )
    with pytest.raises(MedconvError) as told:
        trainer.fit(build_task({"network": NETWORK}), data)
    text = str(told.value)
    assert "the loss is nan at step 5" in text
    assert f"(cases {', '.join(poison.cases)})" in text
    assert f"the last sound checkpoint is {folder / 'last.ckpt'}" in text
    assert re.search("weights are no longer finite at step 6: .* is kept as it was", caplog.text)
    kept = torch.load(folder / "last.ckpt", weights_only=True)
    assert kept["global_step"] == 3


@pytest.mark.parametrize("setting", [{"every_n_steps": 0}, {"patience": 0}])
def test_settings_that_would_never_look_are_refused(setting):
    with pytest.raises(ConfigError, match="expected every_n_steps and patience from 1, got"):
        StopOnNonFinite(**setting)


def test_processes_stop_together_also_where_only_one_has_a_bad_loss(tmp_path, monkeypatch):
    asked = []

    def any_process(_, decision, all):  # noqa: A002 - the name that Lightning gave it
        assert all is False
        asked.append(decision)
        return len(asked) in (2, 4, 5)  # another one has a bad loss at these looks

    monkeypatch.setattr(SingleDeviceStrategy, "reduce_boolean_decision", any_process)
    stopping = StopOnNonFinite(every_n_steps=2, patience=2)
    at, told = stop(tmp_path, stopping, LaggingDevice(0))
    assert (at, told) == (10, "the loss of another process is no number")
    assert asked == [False] * 5
