from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch

from medconv.datamodules import NiftiDataModule
from medconv.errors import CheckpointError, ConfigError
from medconv.inference import read_checkpoint
from medconv.training import AtomicCheckpointIO, AverageWeights, LastCheckpoint, RandomState, build_task

pytestmark = pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty")

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [2, 4]},
}


class Trace(pl.Callback):
    """The trained weights after each step, and those that each validation saw."""

    def __init__(self):
        self.trained, self.validated = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.trained.append(weights(pl_module))

    def on_validation_batch_end(self, trainer, pl_module, *rest):
        self.validated.append(weights(pl_module))


class InterruptIn(pl.Callback):
    def __init__(self, hook, step):
        self.step = step
        setattr(self, hook, self.stop)

    def stop(self, trainer, *rest):
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def weights(task):
    return torch.cat([p.detach().flatten() for p in task.network.parameters()]).cpu().clone()


def fit(root, folder, *callbacks, decay=0.9, ckpt_path=None, **settings):
    data = NiftiDataModule(
        root,
        patch_size=[16, 16, 8],
        batch_size=1,
        steps_per_epoch=3,
        num_folds=2,
        num_workers=0,
        cache_dir=folder.parent / "cache",
    )
    torch.manual_seed(0)
    task = build_task({"network": NETWORK, "lr": 1e-2, "ema_decay": decay})
    data.prepare_plan()
    trainer = pl.Trainer(
        accelerator=settings.pop("accelerator", "cpu"),
        default_root_dir=folder,
        callbacks=[
            *callbacks,
            RandomState(),
            LastCheckpoint(
                filename="last", dirpath=folder, enable_version_counter=False, save_on_exception=True
            ),
        ],
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        **({"max_epochs": 2} | settings),
    )
    trainer.fit(task, data, ckpt_path=ckpt_path, weights_only=True)
    return task, trainer, data


def by_hand(start, trained, decay):
    average = start.double()
    for n, value in enumerate(trained):
        d = min(decay, (1 + n) / (10 + n))
        average = d * average + (1 - d) * value.double()
    return average.float()


def saved(path):
    content = torch.load(path, weights_only=True)
    names = [n for n in content["state_dict"] if n.startswith("network.")]
    return {
        key: torch.cat([content[key][n].flatten() for n in names])
        for key in ("state_dict", "current_model_state")
    }


@pytest.mark.parametrize(
    "decay", [0.3, pytest.param(0.0, marks=pytest.mark.slow), pytest.param(0.999, marks=pytest.mark.slow)]
)
def test_the_average_is_that_of_a_hand_computation_and_is_what_is_measured_and_saved(
    tiny_dataset, tmp_path, decay
):
    torch.manual_seed(0)
    start = weights(build_task({"network": NETWORK}))
    trace = Trace()
    task, trainer, data = fit(tiny_dataset, tmp_path / "run", trace, decay=decay)
    assert len(trace.trained) == 6
    expected = by_hand(start, trace.trained, decay)
    torch.testing.assert_close(weights(task), expected)
    torch.testing.assert_close(trace.validated[-1], expected)
    kept = saved(tmp_path / "run" / "last.ckpt")
    torch.testing.assert_close(kept["state_dict"], expected)
    assert torch.equal(kept["current_model_state"], trace.trained[-1])
    network = read_checkpoint(tmp_path / "run" / "last.ckpt").build(folded=False)
    assert torch.equal(torch.cat([p.flatten() for p in network.parameters()]), weights(task))
    # measuring a checkpoint later uses what the checkpoint holds, with this trainer too
    trainer.test(task, data, ckpt_path=tmp_path / "run" / "last.ckpt", verbose=False, weights_only=True)
    assert torch.equal(weights(task), kept["state_dict"])


@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("on_train_batch_end", 4),
        pytest.param("on_train_batch_end", 2, marks=pytest.mark.slow),
        pytest.param("on_validation_batch_end", 3, marks=pytest.mark.slow),
    ],
    ids=["mid-second-epoch", "mid-epoch", "mid-validation"],
)
def test_a_resumed_run_is_bit_equal(tiny_dataset, tmp_path, hook, step):
    whole, _, _ = fit(tiny_dataset, tmp_path / "whole")
    with pytest.raises(SystemExit):
        fit(tiny_dataset, tmp_path / "half", InterruptIn(hook, step))
    resumed, _, _ = fit(tiny_dataset, tmp_path / "half", ckpt_path=tmp_path / "half" / "last.ckpt")
    assert torch.equal(weights(resumed), weights(whole))
    one, other = saved(tmp_path / "whole" / "last.ckpt"), saved(tmp_path / "half" / "last.ckpt")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_run_with_averages_is_not_continued_without(tiny_dataset, tmp_path):
    fit(tiny_dataset, tmp_path / "run", max_epochs=1)
    with pytest.raises(CheckpointError, match=r"this run averages its weights \(model\.ema_decay\)"):
        fit(tiny_dataset, tmp_path / "run", decay=None, ckpt_path=tmp_path / "run" / "last.ckpt")


def test_a_run_without_averages_begins_them_where_it_stands(tiny_dataset, tmp_path, caplog):
    first, _, _ = fit(tiny_dataset, tmp_path / "run", decay=None, max_epochs=1)
    trace = Trace()
    with caplog.at_level("INFO", logger="medconv"):
        task, _, _ = fit(tiny_dataset, tmp_path / "run", trace, ckpt_path=tmp_path / "run" / "last.ckpt")
    torch.testing.assert_close(weights(task), by_hand(weights(first), trace.trained, 0.9))
    assert "averaging begins with its weights" in caplog.text


def test_batch_statistics_are_averaged_and_masks_are_not():
    module = pl.LightningModule()
    module.norm = torch.nn.BatchNorm1d(2)
    module.register_buffer("mask", torch.tensor([True, False]))
    module.frozen = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
    average = AverageWeights(0.5)
    trainer = pl.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    average.on_fit_start(trainer, module)
    with torch.no_grad():
        module.norm.running_mean += 1
        module.frozen += 1
    module.mask.logical_not_()
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = 1
    average.on_train_batch_end(trainer, module, None, None, 0)
    average.on_validation_epoch_start(trainer, module)
    torch.testing.assert_close(module.norm.running_mean, torch.full((2,), 0.9))
    assert module.mask.tolist() == [False, True]
    assert module.frozen.item() == 1
    average.on_validation_epoch_end(trainer, module)
    torch.testing.assert_close(module.norm.running_mean, torch.ones(2))


def test_a_decay_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match="expected ema_decay from 0 to below 1, got 1"):
        build_task({"network": NETWORK, "ema_decay": 1.0})


@pytest.mark.gpu
def test_recorded_steps_on_a_gpu_are_averaged_and_resumed_like_others(tiny_dataset, tmp_path):
    trace = Trace()
    settings = {"accelerator": "gpu", "precision": "bf16-mixed", "devices": 1}
    whole, _, _ = fit(tiny_dataset, tmp_path / "whole", trace, **settings)
    torch.manual_seed(0)
    start = weights(build_task({"network": NETWORK}))
    torch.testing.assert_close(weights(whole), by_hand(start, trace.trained, 0.9), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trace.validated[-1], weights(whole))
    with pytest.raises(SystemExit):
        fit(tiny_dataset, tmp_path / "half", InterruptIn("on_train_batch_end", 4), **settings)
    resumed, _, _ = fit(
        tiny_dataset, tmp_path / "half", ckpt_path=tmp_path / "half" / "last.ckpt", **settings
    )
    torch.testing.assert_close(weights(resumed), weights(whole), rtol=1e-4, atol=1e-5)
