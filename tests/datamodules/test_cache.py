"""Entries: equal to fresh preparation, found again, remade when anything they rest on changed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_dicom import save_series

from medconv.datamodules.cache import CaseCache
from medconv.errors import DatasetError
from medconv.io import discover, read_image, read_labels, read_volume, write_labels
from medconv.planning import propose_plan
from medconv.transforms import Preprocessor


@pytest.fixture
def dataset(tiny_dataset, tmp_path):
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return discover(tmp_path / "data")


@pytest.fixture
def plan(dataset):
    return propose_plan(dataset, spacing_mm=(1.0, 1.0, 2.5), patch_size=(16, 16, 8))


@pytest.fixture
def cache(tmp_path, plan):
    return CaseCache(tmp_path / "cache", plan)


def stamp(path):
    return path.stat().st_mtime_ns


def test_an_entry_is_what_preparation_gives(cache, dataset, plan):
    case = dataset.cases[1]
    assert cache.build([case]) == {}
    entry = cache.open(case)
    volume = read_volume(case.images[0])
    image, record = Preprocessor(plan).apply(volume)
    labels = read_labels(case.label)
    np.testing.assert_array_equal(entry.image, image.numpy())
    np.testing.assert_array_equal(entry.label, Preprocessor(plan).apply_label(labels, record).numpy())
    np.testing.assert_array_equal(entry.native_label, labels.data[0])
    assert entry.record.work_shape == record.work_shape
    np.testing.assert_array_equal(entry.record.geometry.affine, record.geometry.affine)
    for value, voxels in entry.locations.items():
        assert (np.asarray(entry.label)[0][tuple(voxels.T)] == value).all()
    assert sorted(entry.locations) == [1, 2]


def test_cropping_and_masks_make_entries_of_their_own(cache, dataset, plan):
    case = dataset.cases[0]
    kinds = [
        replace(plan, crop_to_nonzero=crop, masked_normalization=mask)
        for crop, mask in ((False, False), (True, False), (True, True))
    ]
    assert len({CaseCache(cache.folder, kind).path(case) for kind in kinds}) == 3


def test_only_the_latest_entries_stay_open(cache, dataset, monkeypatch):
    monkeypatch.setattr("medconv.datamodules.cache._MOST_OPEN", 2)
    cache.build(dataset.cases)
    shapes = [cache.open(case).image.shape for case in dataset.cases]
    assert len(cache._opened) == 2
    assert [cache.open(case).image.shape for case in dataset.cases] == shapes


def test_entries_are_made_once(cache, dataset, plan):
    cache.build(dataset.cases)
    stamps = [stamp(cache.path(case)) for case in dataset.cases]
    again = CaseCache(cache.folder, plan)
    again.build(dataset.cases)
    assert [stamp(again.path(case)) for case in dataset.cases] == stamps


def test_a_damaged_entry_is_made_again(cache, dataset, plan):
    case = dataset.cases[0]
    cache.build([case])
    path = cache.path(case)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert CaseCache(cache.folder, plan).build([case]) == {}
    np.testing.assert_array_equal(CaseCache(cache.folder, plan).open(case).image, cache.open(case).image)
    assert len(path.read_bytes()) == len(whole)


def test_the_name_follows_all_that_preparation_rests_on(cache, dataset, plan, monkeypatch):
    case = dataset.cases[0]
    names = {cache.path(case)}
    names.add(CaseCache(cache.folder, replace(plan, spacing_mm=(1.0, 1.0, 2.0))).path(case))
    names.add(CaseCache(cache.folder, replace(plan, normalization=("none",))).path(case))
    os.utime(case.label, ns=(1, 1))
    names.add(cache.path(case))
    with case.images[0].open("ab") as file:
        file.write(b"x")
    names.add(cache.path(case))
    monkeypatch.setattr("medconv.datamodules.cache.__version__", "999")
    names.add(cache.path(case))
    assert len(names) == 6


def test_the_patch_size_does_not_matter(cache, dataset, plan):
    other = CaseCache(cache.folder, replace(plan, patch_size=(8, 8, 8)))
    assert other.path(dataset.cases[0]) == cache.path(dataset.cases[0])


def test_every_bad_case_is_reported_and_the_others_are_made(cache, dataset):
    truncated, foreign = dataset.cases[0].images[0], dataset.cases[2].label
    truncated.write_bytes(truncated.read_bytes()[:-200])
    shutil.copy(dataset.cases[3].label, foreign)
    problems = cache.build([*dataset.cases, replace(dataset.cases[1], case_id="unlabelled", label=None)])
    assert sorted(problems) == ["tiny_000", "tiny_002", "unlabelled"]
    assert "truncated" in problems["tiny_000"] or "damaged" in problems["tiny_000"]
    assert "expected the shape" in problems["tiny_002"]
    assert "no label map" in problems["unlabelled"]
    assert cache.open(dataset.cases[1]).image.shape[0] == 1


def test_nothing_is_left_of_an_entry_that_failed(cache, dataset):
    dataset.cases[0].label.write_bytes(b"")
    cache.build(dataset.cases[:1])
    assert list(cache.folder.glob("*")) == []


def test_a_folder_that_cannot_be_made_is_named(dataset, plan, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(
        DatasetError, match=r"prepared cases cannot be written there .* set cache_dir to a folder"
    ):
        CaseCache(tmp_path / "file" / "cache", plan).build(dataset.cases)


def test_a_cache_travels_to_a_worker_without_its_maps(cache, dataset):
    cache.build(dataset.cases)
    expected = np.array(cache.open(dataset.cases[0]).image)
    sent = pickle.dumps(cache)
    assert len(sent) < expected.nbytes / 2
    np.testing.assert_array_equal(pickle.loads(sent).open(dataset.cases[0]).image, expected)


def test_a_series_is_prepared_and_prepared_anew_when_a_slice_changes(tmp_path):
    series = save_series(tmp_path / "ct")
    volume = read_image([series])
    write_labels(tmp_path / "mask.nii.gz", (volume.data[0] > -800).astype(np.uint8), volume)
    (tmp_path / "list.csv").write_text("image,label\nct,mask.nii.gz\n")
    (tmp_path / "list.json").write_text(
        json.dumps({"channel_names": {"0": "CT"}, "labels": {"background": 0, "body": 1}})
    )
    dataset = discover(tmp_path / "list.csv")
    cache = CaseCache(tmp_path / "cache", propose_plan(dataset, spacing_mm=volume.geometry.spacing_mm))
    assert cache.build(dataset.cases) == {}
    assert cache.open(dataset.cases[0]).native_label.shape == volume.shape
    changed = next(series.iterdir())
    os.utime(changed, ns=(0, stamp(changed) + 1))
    assert cache.build(dataset.cases) == {}
    assert len(list((tmp_path / "cache").rglob("*.npz"))) == 2
