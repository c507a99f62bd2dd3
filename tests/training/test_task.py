from __future__ import annotations

import copy
import logging

import lightning.pytorch as pl
import pytest
import torch

from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError, DatasetError, MedconvError
from medconv.inference import read_checkpoint
from medconv.training import (
    AtomicCheckpointIO,
    EpochReport,
    LastCheckpoint,
    SegmentationTask,
    StopOnNonFinite,
    build_task,
)
from medconv.training.build import build_data

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [2, 4]},
}


@pytest.fixture
def data(tiny_dataset, tmp_path):
    module = NiftiDataModule(
        tiny_dataset,
        patch_size=[16, 16, 8],
        batch_size=1,
        steps_per_epoch=2,
        num_folds=2,
        num_workers=0,
        cache_dir=tmp_path / "cache",
    )
    module.prepare_plan()
    return module


def trainer(tmp_path, *callbacks, **settings):
    return pl.Trainer(
        accelerator="gpu" if settings.get("precision") == "16-mixed" else "cpu",
        default_root_dir=tmp_path,
        callbacks=[
            *callbacks,
            LastCheckpoint(
                filename="last", dirpath=tmp_path, enable_version_counter=False, save_on_exception=True
            ),
        ],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    )


def test_a_fit_measures_every_case_and_its_checkpoint_says_so(data, tmp_path):
    task = build_task({"network": NETWORK, "lr": 1e-2})
    trainer(tmp_path, max_epochs=1).fit(task, data)
    cases = {row.case_id for row in task.table.rows}
    assert cases == {case.case_id for case in data.validation_set.cases}
    checkpoint = read_checkpoint(tmp_path / "last.ckpt")
    assert checkpoint.config["model"] == task.config
    assert checkpoint.metrics["class_first_mean_dice"] == task.measured["class_first_mean_dice"]
    assert checkpoint.plan == data.plan


class StopsInTheMiddle(pl.Callback):
    """After the second batch, as a time limit does."""

    def __init__(self):
        self.losses = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        del pl_module, batch
        self.losses.append(float(outputs["loss"]))
        trainer.should_stop = batch_idx == 1


def test_the_line_of_an_epoch_that_a_time_limit_cut_short_tells_the_loss_of_all_its_steps(
    tiny_dataset, tmp_path, caplog
):
    data = NiftiDataModule(
        tiny_dataset, patch_size=[16, 16, 8], batch_size=1, steps_per_epoch=4, num_folds=2, num_workers=0,
        cache_dir=tmp_path / "cache",
    )  # fmt: skip
    data.prepare_plan()
    stop = StopsInTheMiddle()
    with caplog.at_level(logging.INFO, "medconv"):
        task = build_task({"network": NETWORK, "lr": 1e-1})
        trainer(tmp_path, stop, EpochReport(), max_epochs=2, log_every_n_steps=100).fit(task, data)
    assert len(stop.losses) == 2
    (line,) = (r.message for r in caplog.records if r.message.startswith("epoch"))
    assert f"loss {sum(stop.losses) / 2:.4f}" in line
    assert f"{stop.losses[0]:.4f}" not in line


@pytest.mark.parametrize("precision", ["bf16-mixed", pytest.param("16-mixed", marks=pytest.mark.gpu)])
def test_mixed_precision_trains_and_keeps_weights_in_float32(data, tmp_path, precision):
    task = build_task({"network": NETWORK})
    trainer(tmp_path, max_epochs=1, precision=precision).fit(task, data)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in task.parameters())


def test_the_last_weights_are_validated_though_no_validation_was_due(data, tmp_path):
    task = build_task({"network": NETWORK})
    trainer(tmp_path, max_epochs=3, check_val_every_n_epoch=100).fit(task, data)
    assert task.table is not None
    assert task.measured


def test_surfaces_are_measured_every_second_validation_if_asked_and_always_at_the_end(data, tmp_path):
    task = build_task({"network": NETWORK, "surface_every": 2})
    seen = []

    class Watch(pl.Callback):
        def on_validation_end(self, trainer, pl_module):
            del trainer
            seen.append((pl_module.table.surfaces, "nan" not in repr(pl_module.result.rows[0].hd_mm)))

    run = trainer(tmp_path, Watch(), max_epochs=3)
    run.fit(task, data)
    assert seen == [(True, True), (False, False), (True, True)]
    assert "val/dice" in run.callback_metrics
    run.validate(task, data, verbose=False)
    assert seen[-1] == (True, True)
    copy.deepcopy(task.cpu())  # callbacks that keep snapshots do
    with pytest.raises(ConfigError, match="expected surface_every of 1 or more validations, got 0"):
        build_task({"network": NETWORK, "surface_every": 0})


def test_a_case_that_cannot_be_measured_ends_the_run_with_its_name(data, tmp_path, monkeypatch):
    def measure(structures, case_id, *given, **settings):
        raise DatasetError(f"case {case_id}: no")

    monkeypatch.setattr("medconv.metrics.Structures.measure", measure)
    task = build_task({"network": NETWORK})
    with pytest.raises(DatasetError, match=r"case \w+: no"):
        trainer(tmp_path, max_epochs=1).fit(task, data)


def test_time_drives_the_learning_rate_where_it_is_further_than_the_steps(data, tmp_path):
    task = build_task({"network": NETWORK, "lr": 1.0, "schedule": "cosine"})
    run = trainer(tmp_path, max_epochs=100_000, max_time={"seconds": 2}, check_val_every_n_epoch=10_000)
    run.fit(task, data)
    assert run.current_epoch < 100_000
    assert task.progress() >= 1
    assert run.optimizers[0].param_groups[0]["lr"] < 0.5
    assert task.measured


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint_alone(data, tmp_path):
    task = build_task({"network": NETWORK})
    trainer(tmp_path, max_epochs=1).fit(task, data)
    before = (tmp_path / "last.ckpt").read_bytes()
    with torch.no_grad():
        next(task.network.parameters()).fill_(float("nan"))
    with pytest.raises(MedconvError, match="the loss is nan"):
        trainer(tmp_path, StopOnNonFinite(every_n_steps=1, patience=1), max_epochs=1).fit(task, data)
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_a_network_that_does_not_fit_the_data_is_refused_with_both_numbers(data, tmp_path):
    wrong = {**NETWORK, "init_args": {**NETWORK["init_args"], "num_classes": 5}}
    with pytest.raises(
        DatasetError, match=r"num_classes 5, the data 3; set model.network.init_args.num_classes=3"
    ):
        trainer(tmp_path, max_epochs=1).fit(build_task({"network": wrong}), data)


def test_mirroring_is_for_the_final_measurement(data, tmp_path, monkeypatch):
    asked = []

    def note(task, image, *, mirror):
        asked.append(mirror)
        return torch.zeros(1, task.plan.num_classes, *image.shape[2:])

    monkeypatch.setattr(SegmentationTask, "predict_logits", note)
    task = build_task({"network": NETWORK, "mirror": True})
    run = trainer(tmp_path, max_epochs=1)
    run.fit(task, data)
    assert set(asked) == {False}
    run.validate(task, data, verbose=False)
    assert asked[-1] is True


@pytest.mark.parametrize(
    "setting",
    [
        {"momentum": 1.0},
        {"warmup": 1.0},
        {"weight_decay": -1.0},
        {"weight_decay": float("nan")},
        {"lr": float("nan")},
        {"overlap": 1.0},
        {"tile_batch": 0},
    ],
)
def test_settings_outside_their_range_are_named(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        build_task({"network": NETWORK, **setting})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"schedule": "cosin"},
            r"expected schedule poly, cosine or constant, got 'cosin'; did you mean 'cosine'\?",
        ),
        ({"optimizer": "adam"}, r"expected optimizer adamw or sgd, got 'adam'; did you mean 'adamw'\?"),
    ],
)
def test_an_unknown_word_is_no_other_choice_in_python_either(setting, message):
    network = build_task({"network": NETWORK}).network
    with pytest.raises(ConfigError, match=message):
        SegmentationTask(network, **setting)


def test_a_data_module_is_built_by_its_short_name(tiny_dataset):
    module = build_data(
        {"class_path": "NiftiDataModule", "init_args": {"root": str(tiny_dataset), "batch_size": 3}}
    )
    assert (type(module), module.batch_size) == (NiftiDataModule, 3)
    with pytest.raises(ConfigError, match="did you mean 'batch_size'"):
        build_data({"class_path": "NiftiDataModule", "init_args": {"root": "x", "batch_sise": 3}})
