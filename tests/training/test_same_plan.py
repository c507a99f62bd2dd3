"""Continuing a run under another plan."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import lightning.pytorch as pl
import pytest

from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError
from medconv.planning import Plan
from medconv.training import LastCheckpoint, build_task
from medconv.training.same_plan import require_same_plan, warn_of_other_patch

PLAN = Plan(3, ("T1",), {0: "background", 1: "a"}, (1.0, 1.0, 1.0), (16, 16, 8), ("zscore",))
NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [2, 4]},
}


def test_every_field_that_differs_is_named() -> None:
    other = replace(PLAN, spacing_mm=(1.0, 1.0, 2.0), normalization=("percentile",), patch_size=(8, 8, 8))
    with pytest.raises(
        ConfigError,
        match=r"(?s)expected the plan .* begun with, got another:\n"
        r"  - spacing_mm: \(1.0, 1.0, 1.0\) in the run, \(1.0, 1.0, 2.0\) now\n"
        r"  - normalization: \('zscore',\) in the run, \('percentile',\) now\n"
        r"continue with .*config.yaml and plan.yaml\), or .*--init-from",
    ):
        require_same_plan(PLAN, other)


def test_another_patch_is_told_and_the_same_plan_passes_in_silence() -> None:
    other = replace(PLAN, patch_size=(8, 8, 8))
    require_same_plan(PLAN, other)
    with pytest.warns(UserWarning, match=r"patches of \[8, 8, 8\] voxels, it was begun with \[16, 16, 8\]"):
        warn_of_other_patch(PLAN, other)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_same_plan(PLAN, PLAN)
        warn_of_other_patch(PLAN, PLAN)


def run(root: Path, folder: Path, what: str = "fit", **settings: object) -> None:
    data = NiftiDataModule(
        root,
        **({"patch_size": [16, 16, 8], "batch_size": 1, "steps_per_epoch": 1, "num_folds": 2} | settings),  # type: ignore[arg-type]
        cache_dir=folder / "cache",
        num_workers=0,
    )
    data.prepare_plan()
    last = folder / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2 if last.exists() else 1,
        callbacks=[LastCheckpoint(filename="last", dirpath=folder)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    again = {"ckpt_path": last, "weights_only": True} if last.exists() else {}
    getattr(trainer, what)(build_task({"network": NETWORK}), datamodule=data, **again)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")
def test_a_resumed_run_refuses_another_plan_and_a_validation_does_not(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    run(tiny_dataset, tmp_path)
    with pytest.raises(ConfigError, match=r"normalization: \('zscore',\) in the run, \('none',\) now"):
        run(tiny_dataset, tmp_path, normalization=["none"])
    run(tiny_dataset, tmp_path, "validate", normalization=["none"])
    with pytest.warns(UserWarning, match="the run continues with patches of"):
        run(tiny_dataset, tmp_path, patch_size=[8, 16, 8])
