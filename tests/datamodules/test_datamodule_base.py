"""Behind a real Trainer: only training is augmented, a resume loses nothing, ranks share out everything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from medconv.datamodules import base
from medconv.datamodules.nifti import NiftiDataModule
from medconv.processors import usable_processors
from medconv.transforms import AugmentSettings, Chance

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),
]


class Recorder(pl.LightningModule):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, 1, 1)
        self.seen: list[tuple[int, tuple[int, ...], float]] = []
        self.validated: list[str] = []

    def training_step(self, batch):
        keys = tuple(int(k) for k in batch["key"])
        self.seen.append((self.current_epoch, keys, float(batch["image"].sum())))
        return self.layer(batch["image"]).square().mean()

    def validation_step(self, batch):
        self.validated.append(batch["case_id"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class SaveAt(pl.Callback):
    """Writes one checkpoint after a given number of steps."""

    def __init__(self, path, step: int) -> None:
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class SaveAtEpochEnd(SaveAt):
    def on_train_batch_end(self, trainer, *_):
        pass

    def on_train_epoch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


class SaveAtValidationEnd(SaveAt):
    def on_train_batch_end(self, trainer, *_):
        pass

    def on_validation_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("base")


def module(tiny_dataset, folder, **changes):
    settings = {"patch_size": [8, 8, 8], "batch_size": 2, "steps_per_epoch": 4, "cache_dir": folder / "cache"}
    return NiftiDataModule(tiny_dataset, **(settings | changes))


def trainer(folder, **changes):
    settings = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return pl.Trainer(**(settings | changes))


def fit(tiny_dataset, folder, *callbacks, ckpt_path=None, **changes):
    task = Recorder()
    trainer(folder, callbacks=list(callbacks)).fit(
        task, datamodule=module(tiny_dataset, folder, **changes), ckpt_path=ckpt_path, weights_only=True
    )
    return task.seen


@pytest.fixture(scope="module")
def unbroken(tiny_dataset, folder):
    return fit(tiny_dataset, folder)


def test_a_run_is_a_function_of_its_seed(tiny_dataset, folder, unbroken):
    assert [epoch for epoch, _, _ in unbroken] == [0] * 4 + [1] * 4 + [2] * 4
    assert len({key for _, keys, _ in unbroken for key in keys}) == 24
    assert fit(tiny_dataset, folder) == unbroken
    assert fit(tiny_dataset, folder, seed=1) != unbroken


@pytest.mark.parametrize(
    ("save", "step"),
    [
        (SaveAt, 2),  # in the middle of the first epoch
        (SaveAt, 6),  # in the middle of the second
        (SaveAt, 8),  # after the last batch of the second, before its end
        (SaveAtEpochEnd, 4),
        (SaveAtValidationEnd, 8),
    ],
)
def test_a_resumed_run_sees_what_the_unbroken_one_saw(tiny_dataset, folder, unbroken, save, step):
    path = folder / f"{save.__name__}_{step}.ckpt"
    fit(tiny_dataset, folder, save(path, step))
    resumed = fit(tiny_dataset, folder, ckpt_path=path)
    assert [(keys, total) for _, keys, total in resumed] == [
        (keys, total) for _, keys, total in unbroken[step:]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 6])
def test_workers_change_nothing_and_resume_too(tiny_dataset, folder, unbroken, step):
    path = folder / f"workers_{step}.ckpt"
    assert fit(tiny_dataset, folder, SaveAt(path, step), num_workers=2) == unbroken
    resumed = fit(tiny_dataset, folder, ckpt_path=path, num_workers=2)
    assert [seen[1:] for seen in resumed] == [seen[1:] for seen in unbroken[step:]]


def test_resuming_with_another_order_is_told(tiny_dataset, folder):
    path = folder / "order.ckpt"
    fit(tiny_dataset, folder, SaveAt(path, 2))
    with pytest.warns(UserWarning, match="samples will come in another order"):
        fit(tiny_dataset, folder, ckpt_path=path, seed=5)


def test_testing_a_checkpoint_does_not_move_a_later_training(tiny_dataset, folder, unbroken):
    path = folder / "tested.ckpt"
    data = module(tiny_dataset, folder)
    trainer(folder, callbacks=[SaveAt(path, 2)]).fit(Recorder(), datamodule=data)
    trainer(folder).validate(Recorder(), datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
    task = Recorder()
    trainer(folder).fit(task, datamodule=data)
    assert task.seen == unbroken


def test_only_training_batches_are_augmented(tiny_dataset, folder):
    data = module(tiny_dataset, folder, augment=AugmentSettings(strength=100))
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert not torch.equal(data.on_after_batch_transfer(batch, 0)["image"], batch["image"])
    (case,) = data.val_dataloader()
    assert data.on_after_batch_transfer(case, 0) is case


@pytest.mark.parametrize("is_stored", [False, True])
def test_no_tensor_of_a_training_batch_is_left_on_the_host(tiny_dataset, folder, is_stored):
    """The wrapper of distributed training would move it at every step, and wait for the device."""
    data = module(tiny_dataset, folder)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    keys = batch["key"].tolist()
    data._stored, data._augment = is_stored, lambda image, label, _: (image, label)
    away = torch.device("meta")
    moved = data.on_after_batch_transfer(data.transfer_batch_to_device(batch, away, 0), 0)
    assert {value.device for value in moved.values() if torch.is_tensor(value)} == {away}
    assert (moved["key"].tolist(), len(moved["case"])) == (keys, len(keys))


def test_strength_zero_serves_plain_patches(tiny_dataset, folder):
    data = module(tiny_dataset, folder, augment=AugmentSettings(strength=0))
    data.prepare_data()
    data.setup("fit")
    for batch in data.train_dataloader():
        assert torch.equal(data.on_after_batch_transfer(batch, 0)["image"], batch["image"])


def flips_of(tiny_dataset, folder, augment):
    """The axes along which a training batch was flipped; nothing else was changed."""
    data = module(tiny_dataset, folder, augment=augment)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    changed = data.on_after_batch_transfer(batch, 0)["label"]
    every = [axes for n in range(4) for axes in combinations(range(3), n)]
    return [axes for axes in every if torch.equal(changed, batch["label"].flip([a + 2 for a in axes]))]


def test_training_never_mirrors_labels_that_name_sides(tiny_dataset, folder):
    sided = folder / "sided"
    shutil.copytree(tiny_dataset, sided)
    text = (sided / "dataset.json").read_text()
    text = text.replace("head", "kidney_left").replace("tail", "kidney_right")
    (sided / "dataset.json").write_text(text)
    off = Chance(0.0, 1.0, 1.0)
    still = dict.fromkeys(("scale", "noise_std", "blur_sigma_vox", "brightness", "contrast"), off)
    still |= dict.fromkeys(("resolution", "gamma", "gamma_inverted"), off)
    always = AugmentSettings(rotation=0, mirror=1, **still)
    assert flips_of(tiny_dataset, folder, always) == [(0, 1, 2)]
    assert flips_of(sided, folder, always) == [(1, 2)]
    with pytest.warns(UserWarning, match="left becomes right"):
        assert flips_of(sided, folder, replace(always, mirror_axes=(0,))) == [(0,)]


def test_only_what_is_computed_with_moves_to_the_device(tiny_dataset, folder):
    data = module(tiny_dataset, folder)
    data.prepare_data()
    data.setup("fit")
    (case,) = data.val_dataloader()
    moved = data.transfer_batch_to_device(case, torch.device("meta"), 0)
    assert moved["image"].device.type == "meta"
    assert moved["target"].device.type == "cpu"
    assert moved["record"] is case["record"]
    assert moved["label"] is case["label"]
    batch = data.transfer_batch_to_device(next(iter(data.train_dataloader())), torch.device("meta"), 0)
    assert {name: value.device.type for name, value in batch.items()} == {
        "image": "meta",
        "label": "meta",
        "key": "cpu",
        "case": "cpu",
    }


def test_loading_leaves_the_global_generator_alone(tiny_dataset, folder):
    data = module(tiny_dataset, folder)
    data.prepare_data()
    data.setup("fit")
    before = torch.get_rng_state()
    list(data.train_dataloader())
    list(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


def on_rank(data, rank, world):
    device = torch.device("cpu")
    data.trainer = SimpleNamespace(
        global_rank=rank, world_size=world, num_devices=world, strategy=SimpleNamespace(root_device=device)
    )
    return data


def test_ranks_train_on_what_one_process_would_and_validate_each_case_once(tiny_dataset, folder):
    shares, validated = [], []
    for rank in range(2):
        data = on_rank(module(tiny_dataset, folder, num_folds=2), rank, 2)
        data.setup("fit")
        shares.append([tuple(b["key"].tolist()) for b in data.train_dataloader()])
        validated += [case["case_id"] for case in data.val_dataloader()]
    alone = module(tiny_dataset, folder, num_folds=2)
    alone.setup("fit")
    assert [keys for step in zip(*shares, strict=True) for keys in step] == [
        tuple(b["key"].tolist()) for b in alone.train_dataloader()
    ]
    assert sorted(validated) == sorted(case.case_id for case in alone.validation_set.cases)


@pytest.mark.parametrize(
    ("cores", "devices", "expected"), [(1, 1, 0), (2, 1, 0), (3, 1, 1), (4, 1, 2), (64, 1, 8), (16, 4, 2)]
)
def test_workers_follow_the_cores_of_a_device(cores, devices, expected):
    assert base.choose_workers(cores, devices) == expected


def test_workers_can_be_given(tiny_dataset, folder):
    data = module(tiny_dataset, folder, num_workers=1)
    data.setup("fit")
    assert data.train_dataloader().num_workers == 1
    assert data.train_dataloader().persistent_workers
    assert 1 <= usable_processors() <= os.cpu_count()


TWO_RANKS = """
import sys, warnings
warnings.simplefilter("ignore")
import lightning.pytorch as pl, torch
sys.path.insert(0, {tests!r})
from test_datamodule_base import Recorder, module
class Report(pl.Callback):
    def on_fit_end(self, trainer, task):
        print("RANK", trainer.global_rank, [keys for _, keys, _ in task.seen], task.validated, flush=True)
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
pl.Trainer(
    max_epochs=1, accelerator="cpu", devices=2, strategy="ddp", num_sanity_val_steps=0,
    callbacks=[Report()], **quiet
).fit(Recorder(), datamodule=module({data!r}, __import__("pathlib").Path({folder!r}), num_folds=4))
"""


@pytest.mark.slow
def test_two_real_processes_share_out_the_cases_whatever_the_trainer_says(tiny_dataset, folder):
    """``use_distributed_sampler`` is left on: the samplers must not be wrapped once more."""
    script = folder / "two_ranks.py"
    script.write_text(
        TWO_RANKS.format(tests=str(Path(__file__).parent), data=str(tiny_dataset), folder=str(folder))
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=2)[2] for line in done.stdout.splitlines() if line.startswith("RANK")]
    assert len(lines) == 2
    alone = module(tiny_dataset, folder, num_folds=4)
    alone.setup("fit")
    keys = [str(key) for batch in alone.train_dataloader() for key in batch["key"].tolist()]
    assert all(sum(key in line for line in lines) == 1 for key in keys)
    assert sum(line.count("tiny_") for line in lines) == 1
