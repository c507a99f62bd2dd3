"""A loss that is no number, in a run on files: what is told, and what is left."""

from __future__ import annotations

import re

import lightning.pytorch as pl
import pytest
import torch

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
