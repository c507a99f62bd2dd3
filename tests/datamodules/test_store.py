"""Batches from the device's memory are the batches that a loader reads from disk."""

from __future__ import annotations

import logging
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch
from gpu_waiting import no_waiting
from torch.utils.data import DataLoader

from medconv.datamodules import NiftiDataModule
from medconv.datamodules.cache import CaseCache
from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.samplers import TrainingSampler
from medconv.datamodules.store import StoreLoader, fits_on_device, size_in_bytes
from medconv.io import discover
from medconv.planning import propose_plan
from medconv.transforms import Augment, AugmentSettings

CPU = torch.device("cpu")
STRONG = AugmentSettings(strength=2.0)


@pytest.fixture(scope="module")
def patches(tiny_dataset, tmp_path_factory):
    dataset = discover(tiny_dataset)
    plan = propose_plan(dataset, spacing_mm=(1.0, 1.0, 2.5), patch_size=(10, 12, 8))
    cache = CaseCache(tmp_path_factory.mktemp("store"), plan)
    cache.build(dataset.cases)
    return PatchDataset(cache, dataset.cases, plan, STRONG)


def sampler(epoch=0, **changes):
    settings = {"batch_size": 3, "steps_per_epoch": 5, "seed": 1, "foreground_share": 0.33} | changes
    made = TrainingSampler(4, **settings)
    made.set_epoch(epoch)
    return made


def store(patches, sampler, batches_at_once=1):
    loader = StoreLoader(patches, sampler, sampler.batch_size, Augment(3, patches.augment), CPU)
    loader.batches_at_once = batches_at_once
    return loader


@pytest.mark.parametrize("batches_at_once", [1, 2, 5, 99])
def test_a_store_gives_the_batches_of_a_loader_over_the_disk(patches, batches_at_once):
    augment, count = Augment(3, patches.augment), 0
    from_disk = DataLoader(patches, batch_size=3, sampler=sampler())
    for expected, got in zip(from_disk, store(patches, sampler(), batches_at_once), strict=True):
        image, label = augment(expected["image"], expected["label"], expected["key"])
        torch.testing.assert_close(got["image"], image, atol=1e-4, rtol=1e-4)
        assert (got["label"] != label).float().mean() < 1e-3  # float32 may round a tie the other way
        assert got["label"].dtype == label.dtype
        assert torch.equal(got["key"], expected["key"])
        count += 1
    assert count == len(store(patches, sampler())) == 5


def test_patches_are_really_turned_in_a_store(patches):
    still = PatchDataset(patches.cache, patches.cases, patches.plan, AugmentSettings(strength=0))
    moved, unmoved = (next(iter(store(p, sampler(batch_size=12)))) for p in (patches, still))
    assert torch.equal(moved["key"], unmoved["key"])
    assert (moved["label"] != unmoved["label"]).flatten(1).any(1).sum() >= 3


def test_a_sampler_that_resumes_is_followed(patches):
    whole = [batch["key"].tolist() for batch in store(patches, sampler())]
    resumed = sampler()
    resumed.resume(0, 2)
    assert [batch["key"].tolist() for batch in store(patches, resumed, 4)] == whole[2:]


@pytest.mark.parametrize("batches_at_once", [1, 2, 5])
def test_the_first_batches_of_the_next_epoch_are_drawn_ahead_and_used(patches, batches_at_once, monkeypatch):
    drawn = []
    draw = StoreLoader._draw
    monkeypatch.setattr(
        StoreLoader, "_draw", lambda self, samples: (drawn.append(samples), draw(self, samples))[1]
    )
    loader = store(patches, sampler(), batches_at_once)
    seen = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        seen.append([batch["key"].tolist() for batch in loader])
    alone = [[b["key"].tolist() for b in store(patches, sampler(epoch), 1)] for epoch in range(3)]
    assert seen == alone
    chunks = -(-5 // batches_at_once)
    assert drawn[: 3 * chunks + 1] == list(dict.fromkeys(drawn[: 3 * chunks + 1]))  # nothing twice
    first = next(iter(loader))  # the last epoch again: what was drawn ahead is another epoch's
    assert first["key"].tolist() == seen[2][0]


def test_size_counts_image_and_label(patches):
    voxels = sum(case.image[0].size for case in (patches.cache.open(c) for c in patches.cases))
    assert size_in_bytes(patches) == voxels * (4 + 1)
    assert not fits_on_device(patches, CPU)


@pytest.mark.parametrize(("free_share", "fits"), [(3.9, False), (4.1, True)])
def test_a_quarter_of_the_free_memory_may_be_taken(patches, monkeypatch, free_share, fits):
    free = int(free_share * size_in_bytes(patches))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
    assert fits_on_device(patches, torch.device("cuda")) is fits


class Recorder(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, 1, 1)
        self.seen: list[tuple[int, ...]] = []

    def training_step(self, batch):
        self.seen.append(tuple(batch["key"].tolist()))
        return self.layer(batch["image"]).square().mean()

    def validation_step(self, batch):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


@pytest.mark.filterwarnings("ignore:.*GPU available but not used")
def test_a_trainer_runs_on_a_store_and_is_told_where_the_cases_lie(tiny_dataset, tmp_path, caplog):
    seen = {}
    for name in ("disk", "device"):
        data = NiftiDataModule(
            tiny_dataset,
            patch_size=[8, 8, 8],
            batch_size=2,
            steps_per_epoch=3,
            store=name,
            num_workers=0,
            cache_dir=tmp_path,
        )
        task = Recorder()
        trainer = pl.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            default_root_dir=tmp_path,
        )
        with caplog.at_level(logging.INFO, "medconv"):
            trainer.fit(task, datamodule=data)
        seen[name] = task.seen
    assert seen["disk"] == seen["device"]
    assert len(set(seen["device"])) == 6
    assert "in the memory of cpu" in caplog.text
    assert "on disk, mapped into memory" in caplog.text


@pytest.mark.gpu
def test_a_gpu_draws_the_patches_of_a_cpu_and_does_not_wait(patches):
    silent = replace(STRONG, noise_std=replace(STRONG.noise_std, probability=0.0))
    dataset = PatchDataset(patches.cache, patches.cases, patches.plan, silent)
    on_cpu = StoreLoader(dataset, sampler(), 3, Augment(3, silent), CPU)
    on_gpu = StoreLoader(dataset, sampler(), 3, Augment(3, silent), torch.device("cuda"))
    next(iter(on_gpu))
    with no_waiting():
        batches = list(on_gpu)
    for expected, got in zip(on_cpu, batches, strict=True):
        torch.testing.assert_close(got["image"].cpu(), expected["image"], atol=1e-3, rtol=1e-3)
        assert (got["label"].cpu() != expected["label"]).float().mean() < 1e-3
