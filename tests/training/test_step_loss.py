"""The losses of steps in the log: the right ones, at their steps, and nobody waited for them."""

from __future__ import annotations

import csv
import logging

import lightning.pytorch as pl
import pytest
import torch
from lagging_device import LaggingDevice
from lightning.pytorch.loggers import CSVLogger
from tiny_training_data import tiny_data
from torch.utils._python_dispatch import TorchDispatchMode

from medconv.models import UNet
from medconv.training import DataWait, SegmentationTask, StepProgress, StopOnNonFinite
from medconv.training.callbacks.step_loss import StepLoss


class Notes(SegmentationTask):
    """Keeps the loss of every batch as it is, and the epoch."""

    def __init__(self, **settings):
        super().__init__(UNet(3, 1, 3, channels=(4, 8)), surface_every=100, **settings)
        self.noted = []

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.noted.append((loss.detach().clone(), self.trainer.current_epoch))
        return loss


def fit(tiny_dataset, folder, *callbacks, task=None, steps=6, epochs=2, every=4, **settings):
    data = tiny_data(tiny_dataset, folder, steps)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=CSVLogger(folder / "log", name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=any(isinstance(c, StepProgress) for c in callbacks),
        enable_model_summary=False,
        log_every_n_steps=every,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **({"limit_val_batches": 0} | settings),
    )
    trainer.fit(task or Notes(), datamodule=data)
    return trainer


def rows(folder):
    with (folder / "log" / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def written(folder, name="train/loss_step"):
    return [(int(r["step"]), int(r["epoch"]), float(r[name])) for r in rows(folder) if r[name]]


@pytest.mark.parametrize(("lag", "waited_in"), [(None, []), (1, [12]), (3, [6, 12]), (100, [6, 12, 12])])
def test_every_loss_is_written_under_its_own_step_and_epoch_however_late_it_comes(
    tiny_dataset, tmp_path, monkeypatch, lag, waited_in
):
    task, device = Notes(), LaggingDevice(lag=lag or 0)
    if lag is not None:
        device.pretend(monkeypatch)
    fit(tiny_dataset, tmp_path, device, task=task)
    assert written(tmp_path) == [
        (step, task.noted[step][1], pytest.approx(float(task.noted[step][0]))) for step in (3, 7, 11)
    ]
    # what the host knows is in Lightning's rows of the same steps
    assert [step for step, *_ in written(tmp_path, "lr")] == [3, 7, 11]
    # at the end of an epoch only, for those that are still on their way
    assert device.waited_in == waited_in


def test_with_gathered_gradients_the_loss_is_that_of_the_batch_that_made_the_step(tiny_dataset, tmp_path):
    task = Notes()
    fit(tiny_dataset, tmp_path, task=task, every=2, epochs=1, steps=8, accumulate_grad_batches=2)
    assert [(s, v) for s, _, v in written(tmp_path)] == [
        (step, pytest.approx(float(task.noted[2 * step + 1][0]))) for step in (1, 3)
    ]


def test_nothing_is_written_where_nothing_is_to_be(tiny_dataset, tmp_path):
    fit(tiny_dataset, tmp_path, every=0)
    assert "train/loss_step" not in rows(tmp_path)[0]


def test_what_is_on_its_way_is_written_before_a_validation_begins(tiny_dataset, tmp_path, monkeypatch):
    class Look(pl.Callback):
        def on_validation_start(self, trainer, pl_module):
            if not trainer.sanity_checking:
                seen.append(len(written(tmp_path)))

    seen = []
    device = LaggingDevice(lag=100)
    device.pretend(monkeypatch)
    settings = {"val_check_interval": 3, "limit_val_batches": 1, "num_sanity_val_steps": 1}
    fit(tiny_dataset, tmp_path, device, StepLoss(), Look(), epochs=1, every=3, **settings)
    assert seen == [1, 2]


class Asked(TorchDispatchMode):
    """Keeps the values of all tensors that anybody asks for their value."""

    def __init__(self):
        super().__init__()
        self.values = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._local_scalar_dense.default:
            self.values.append(result)
        return result


def test_no_step_asks_for_its_loss(tiny_dataset, tmp_path):
    class FirstEpoch(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            asked_in_steps[:] = asked.values

    task, asked, asked_in_steps = Notes(optimizer="sgd"), Asked(), []
    with asked:
        fit(
            tiny_dataset,
            tmp_path,
            DataWait(),
            StepProgress(),
            StopOnNonFinite(2),
            FirstEpoch(),
            task=task,
            epochs=1,
        )
    losses = {float(loss) for loss, _ in task.noted}
    assert len(losses) == 6
    assert asked_in_steps  # Lightning asks for the learning rate, which lies on the host
    assert not losses & set(asked_in_steps)


def test_a_trainer_that_is_used_again_does_not_speak_of_it(tiny_dataset, tmp_path, caplog):
    trainer = fit(tiny_dataset, tmp_path, epochs=1)
    with caplog.at_level(logging.INFO):
        trainer.fit_loop.max_epochs = 2
        trainer.fit(trainer.lightning_module, datamodule=trainer.datamodule)
    assert "override" not in caplog.text
    assert sum(isinstance(c, StepLoss) for c in trainer.callbacks) == 1
    assert [step for step, *_ in written(tmp_path)] == [3, 7, 11]
