"""Batches from the device's memory are the batches that a loader reads from disk."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from gpu_waiting import no_waiting
from torch.utils.data import DataLoader

from medconv.datamodules import NiftiDataModule
from medconv.datamodules.cache import CaseCache
from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.footprint import measure_footprint, measure_room
from medconv.datamodules.samplers import TrainingSampler
from medconv.datamodules.store import StoreLoader
from medconv.datamodules.tiers import Tier
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


def store(patches, sampler, batches_at_once=1, place="device", image_type=torch.float32):
    tier = Tier(place, image_type, "")
    loader = StoreLoader(patches, sampler, sampler.batch_size, Augment(3, patches.augment), CPU, tier)
    loader.batches_at_once = batches_at_once
    return loader


@pytest.mark.parametrize("place", ["device", "ram"])
@pytest.mark.parametrize("batches_at_once", [1, 2, 5, 99])
def test_a_store_gives_the_batches_of_a_loader_over_the_disk(patches, batches_at_once, place):
    augment, count = Augment(3, patches.augment), 0
    from_disk = DataLoader(patches, batch_size=3, sampler=sampler())
    for expected, got in zip(from_disk, store(patches, sampler(), batches_at_once, place), strict=True):
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


def test_half_precision_moves_an_image_by_its_last_bit_and_no_label(patches):
    for place in ("device", "ram"):
        batches = zip(
            store(patches, sampler(), place=place),
            store(patches, sampler(), place=place, image_type=torch.float16),
            strict=True,
        )
        for exact, rounded in batches:
            assert rounded["image"].dtype == torch.float32
            assert torch.equal(exact["label"], rounded["label"])
            assert 0 < (exact["image"] - rounded["image"]).abs().max() < 0.02


class Whole:
    """Prepared cases whose images are whole numbers in a range."""

    def __init__(self, cache, low, high):
        self.cache, self.low, self.high = cache, low, high

    def open(self, case):
        prepared = self.cache.open(case)
        ramp = np.linspace(self.low, self.high, prepared.image.size, dtype=np.float32).round()
        return replace(prepared, image=ramp.reshape(prepared.image.shape))


@pytest.mark.parametrize(
    ("low", "high", "image_type"),
    [
        (0, 255, torch.uint8),
        (-1, 200, torch.int16),
        (0, 256, torch.int16),
        (0, 40_000, torch.float32),
        (-32_768, 32_767, torch.int16),
    ],
)
def test_whole_numbers_are_kept_as_such_and_exactly(patches, low, high, image_type):
    plan = replace(patches.plan, normalization=("none",))
    still = AugmentSettings(strength=0)
    whole = PatchDataset(Whole(patches.cache, low, high), patches.cases, plan, still)
    footprint = measure_footprint(whole)
    assert footprint.types == (image_type,)  # and never half precision: nobody knows what 0.05 % mean
    assert measure_footprint(whole, look_for_whole_numbers=False).exact_type == torch.float32
    batches = zip(
        DataLoader(whole, batch_size=3, sampler=sampler()),
        store(whole, sampler(), place="ram", image_type=image_type),
        strict=True,
    )
    for expected, got in batches:
        assert torch.equal(expected["image"], got["image"])


def test_one_fraction_makes_images_that_are_not_normalised_float32(patches):
    plan = replace(patches.plan, normalization=("none",))
    assert measure_footprint(replace_plan(patches, plan)).types == (torch.float32,)


def replace_plan(patches, plan):
    return PatchDataset(patches.cache, patches.cases, plan, patches.augment)


@pytest.mark.parametrize("place", ["device", "ram"])
@pytest.mark.parametrize("batches_at_once", [1, 2, 5])
def test_the_first_batches_of_the_next_epoch_are_drawn_ahead_and_used(
    patches, batches_at_once, place, monkeypatch
):
    drawn = []
    draw = StoreLoader._draw
    monkeypatch.setattr(
        StoreLoader, "_draw", lambda self, samples: (drawn.append(samples), draw(self, samples))[1]
    )
    loader = store(patches, sampler(), batches_at_once, place)
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


@pytest.mark.parametrize(("batches_at_once", "drawn_first"), [(1, 2), (2, 1)])
def test_a_batch_is_handed_out_before_those_after_it_are_drawn(
    patches, batches_at_once, drawn_first, monkeypatch
):
    loader, drawn = store(patches, sampler(), batches_at_once), []
    draw = loader._draw
    monkeypatch.setattr(loader, "_draw", lambda samples: drawn.append(samples) or draw(samples))
    batches = iter(loader)
    next(batches)
    assert len(drawn) == drawn_first
    next(batches)
    assert len(drawn) == drawn_first + 1


def test_size_counts_image_and_label(patches):
    voxels = sum(case.image[0].size for case in (patches.cache.open(c) for c in patches.cases))
    footprint = measure_footprint(patches)
    assert footprint.size_bytes(torch.float32) == voxels * (4 + 1)
    assert footprint.size_bytes(torch.float16) == voxels * (2 + 1)
    assert footprint.types == (torch.float32, torch.float16)


def test_processes_of_a_machine_share_its_main_memory(monkeypatch):
    monkeypatch.setattr("medconv.datamodules.footprint.free_host_bytes", lambda: 1000)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (70, 80))
    gpu = measure_room(torch.device("cuda:1"), 4)
    assert (gpu.device, gpu.device_bytes, gpu.ram_bytes) == ("cuda:1", 70, 250)
    cpu = measure_room(CPU, 1)
    assert (cpu.device_bytes, cpu.ram_bytes, cpu.has_accelerator) == (1000, 1000, False)


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
    for name in ("disk", "ram", "device"):
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
    assert seen["disk"] == seen["ram"] == seen["device"]
    assert len(set(seen["device"])) == 6
    assert "in the memory of cpu" in caplog.text
    assert "in main memory, patches copied to cpu" in caplog.text
    assert "on disk, mapped into memory" in caplog.text
    assert re.search(r"\d+ training cases, [\d.e-]+ GB as float32, ", caplog.text)


@pytest.mark.gpu
@pytest.mark.parametrize("place", ["device", "ram"])
def test_a_gpu_draws_the_patches_of_a_cpu_and_does_not_wait(patches, place):
    silent = replace(STRONG, noise_std=replace(STRONG.noise_std, probability=0.0))
    dataset = PatchDataset(patches.cache, patches.cases, patches.plan, silent)
    tier = Tier(place, torch.float32, "")
    on_cpu = StoreLoader(dataset, sampler(), 3, Augment(3, silent), CPU, tier)
    on_gpu = StoreLoader(dataset, sampler(), 3, Augment(3, silent), torch.device("cuda"), tier)
    next(iter(on_gpu))
    with no_waiting():
        batches = list(on_gpu)
    for expected, got in zip(on_cpu, batches, strict=True):
        torch.testing.assert_close(got["image"].cpu(), expected["image"], atol=1e-3, rtol=1e-3)
        assert (got["label"].cpu() != expected["label"]).float().mean() < 1e-3
