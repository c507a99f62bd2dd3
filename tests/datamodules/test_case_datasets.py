"""Patches follow from their sample alone; whole cases carry what measuring needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medconv.datamodules.cache import CaseCache
from medconv.datamodules.case_datasets import CaseDataset, PatchDataset
from medconv.datamodules.samplers import Sample
from medconv.io import discover, read_labels
from medconv.planning import propose_plan
from medconv.transforms import AugmentSettings


@pytest.fixture(scope="module")
def prepared(tiny_dataset, tmp_path_factory):
    dataset = discover(tiny_dataset)
    plan = propose_plan(dataset, spacing_mm=(1.0, 1.0, 2.5), patch_size=(8, 8, 8))
    cache = CaseCache(tmp_path_factory.mktemp("cache"), plan)
    cache.build(dataset.cases)
    return cache, dataset.cases, plan


def test_a_patch_follows_from_its_sample_alone(prepared):
    patches = PatchDataset(*prepared)
    sample = Sample(case=2, key=12345, on_foreground=False)
    first, again = patches[sample], PatchDataset(*prepared)[sample]
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], patches[sample._replace(key=12346)]["image"])
    assert first["key"] == 12345


def test_patches_have_the_promised_shapes_and_can_be_written(prepared):
    cache, cases, plan = prepared
    patch = PatchDataset(cache, cases, replace(plan, patch_size=(8, 12, 40)))[
        Sample(0, 1, on_foreground=True)
    ]
    assert patch["image"].shape == patch["label"].shape == (1, 8, 12, 40)
    assert (patch["image"].dtype, patch["label"].dtype) == (torch.float32, torch.uint8)
    patch["image"] += 1
    assert (len(PatchDataset(*prepared))) == 4


def test_foreground_samples_hold_foreground(prepared):
    cache, cases, plan = prepared
    still = AugmentSettings(strength=0)
    patches = PatchDataset(cache, cases, replace(plan, patch_size=(4, 4, 4)), still)
    assert all(patches[Sample(i % 4, i, on_foreground=True)]["label"].any() for i in range(60))
    assert not all(patches[Sample(i % 4, i, on_foreground=False)]["label"].any() for i in range(60))


def test_a_whole_case_brings_both_grids(prepared, oblique_affine):
    cache, cases, _ = prepared
    case = CaseDataset(cache, cases)[3]
    truth = read_labels(cases[3].label)
    assert case["image"].shape == (1, 1, *case["record"].work_shape)
    assert case["target"].shape == case["image"].shape
    assert case["case_id"] == "tiny_003"
    assert isinstance(case["label"], np.ndarray)
    assert not isinstance(case["label"], np.memmap)
    np.testing.assert_array_equal(case["label"], truth.data[0])
    np.testing.assert_allclose(case["spacing_mm"], np.linalg.norm(oblique_affine[:3, :3], axis=0), rtol=1e-6)
