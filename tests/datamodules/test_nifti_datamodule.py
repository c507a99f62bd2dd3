"""Folders of volumes: planned before a label is read, split by group, bad cases told all at once."""

from __future__ import annotations

import json
import shutil

import jsonargparse
import nibabel as nib
import numpy as np
import pytest
import torch

from medconv.datamodules.base import SegmentationDataModule
from medconv.datamodules.nifti import NiftiDataModule
from medconv.datamodules.user_cache import user_cache_dir
from medconv.errors import ConfigError, DatasetError
from medconv.io import read_labels
from medconv.transforms import Preprocessor


@pytest.fixture
def root(tiny_dataset, tmp_path):
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return tmp_path / "data"


def module(root, **changes):
    settings = {"patch_size": [16, 16, 8], "steps_per_epoch": 3, "cache_dir": root.parent / "cache"}
    return NiftiDataModule(root, **(settings | changes))


def ready(root, **changes):
    data = module(root, **changes)
    data.prepare_data()
    data.setup("fit")
    return data


def test_no_label_map_is_read_for_the_plan(root):
    data = module(root)
    label = root / "labelsTr" / "tiny_000.nii.gz"
    whole = label.read_bytes()
    label.write_bytes(whole[: len(whole) * 3 // 4])  # the header is whole, the voxels are not
    data.prepare_plan()
    assert data.plan.spacing_mm == pytest.approx((0.8, 0.8, 2.5), abs=1e-4)
    assert data.plan.patch_size == (16, 16, 8)
    assert data.plan.label_names == {0: "background", 1: "head", 2: "tail"}


def test_training_batches(root):
    data = ready(root, batch_size=2)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert batch["image"].shape == batch["label"].shape == (2, 1, 16, 16, 8)
        assert (batch["image"].dtype, batch["key"].dtype) == (torch.float32, torch.int64)
    assert len({int(key) for batch in batches for key in batch["key"]}) == 6


def test_whole_cases_come_back_to_their_own_grid(root):
    data = ready(root, spacing_mm=[1.2, 1.2, 2.5])
    (case,) = data.val_dataloader()
    truth = read_labels(root / "labelsTr" / f"{case['case_id']}.nii.gz").data[0]
    np.testing.assert_array_equal(case["label"], truth)
    one_hot = torch.nn.functional.one_hot(case["target"][0, 0].long(), 3).movedim(-1, 0).float()
    restored = Preprocessor(data.plan).restore(one_hot, case["record"])
    assert np.mean(restored != truth) < 0.02


def test_training_and_validation_share_no_case(root):
    data = ready(root, num_folds=2, fold=1)
    training = {case.case_id for case in data.training_set.cases}
    validation = {case.case_id for case in data.validation_set.cases}
    assert len(training) == len(validation) == 2
    assert not training & validation
    assert data.test_set is data.validation_set


def test_groups_of_a_csv_stay_together(root):
    names = [f"tiny_{i:03d}.nii.gz" for i in range(4)]
    rows = [f"imagesTr/{n},labelsTr/{n},{'ann' if i < 2 else f'p{i}'}" for i, n in enumerate(names)]
    table = root / "cases.csv"
    table.write_text("\n".join(["image,label,group", *rows]))
    table.with_suffix(".json").write_text(
        json.dumps({"channel_names": {"0": "T1"}, "labels": {"background": 0, "head": 1, "tail": 2}})
    )
    for seed in range(6):
        data = module(table, val_fraction=0.5, seed=seed, cache_dir=root / "cache")
        data.prepare_plan()
        groups = [case.group for case in data.dataset.cases]
        split = data.split()
        assert not {groups[i] for i in split.train} & {groups[i] for i in split.validation}


def test_test_cases_come_from_a_dataset_of_the_same_kind(root, tmp_path):
    shutil.copytree(root, tmp_path / "other")
    data = ready(root, test_root=tmp_path / "other")
    assert data.has_test_cases
    assert len(data.test_set) == 4
    assert data.example_images == tmp_path / "other" / "imagesTr"
    description = json.loads((tmp_path / "other" / "dataset.json").read_text())
    description["labels"]["1"] = "nose"
    (tmp_path / "other" / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(DatasetError, match=r"expected the labels .*'head'.* got .*'nose'"):
        ready(root, test_root=tmp_path / "other")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"ignore": 4}, "expected the ignore_label 3 of .*data, got 4; give a dataset of the same kind"),
        ({"end": [1]}, r"expected the regions .*'end': \(2,\).* got .*'end': \(1,\)"),
        ({"ignore": None}, "expected the ignore_label 3 of .*data, got None"),
    ],
)
def test_test_cases_with_other_regions_or_another_ignore_label_are_refused(root, tmp_path, declared, message):
    labels = {"background": 0, "whole": [1, 2], "end": 2, "ignore": 3}

    def declare(folder, labels):
        description = json.loads((folder / "dataset.json").read_text())
        description |= {
            "labels": {k: v for k, v in labels.items() if v is not None},
            "regions_class_order": [1, 2],
        }
        (folder / "dataset.json").write_text(json.dumps(description))

    declare(root, labels)
    shutil.copytree(root, tmp_path / "other")
    data = module(root, test_root=tmp_path / "other")
    data.prepare_plan()
    assert len(data.find_test_cases()) == 4
    declare(tmp_path / "other", labels | declared)
    with pytest.raises(DatasetError, match=message):
        data.find_test_cases()


def spoil(root):
    """One case whose voxels are cut off, one with a label outside the declared set."""
    image = root / "imagesTr" / "tiny_001.nii.gz"
    image.write_bytes(image.read_bytes()[:-300])
    description = json.loads((root / "dataset.json").read_text())
    del description["labels"]["2"]
    (root / "dataset.json").write_text(json.dumps(description))


def test_all_bad_cases_are_told_at_once(root):
    spoil(root)
    with pytest.raises(DatasetError, match=r"4 case\(s\) cannot be used.*set skip_bad_cases") as caught:
        ready(root)
    for number in range(4):
        assert f"case tiny_00{number}: " in str(caught.value)


def test_bad_cases_can_be_left_out_with_a_warning(root):
    image = root / "imagesTr" / "tiny_001.nii.gz"
    image.write_bytes(image.read_bytes()[:-300])
    (root / "labelsTr" / "tiny_002.nii.gz").write_bytes(b"no header")
    with pytest.warns(UserWarning, match=r"1 case\(s\) are left out") as caught:
        data = ready(root, skip_bad_cases=True)
    told = " ".join(str(w.message) for w in caught)
    assert "tiny_001" in told
    assert "tiny_002" in told
    assert len(data.training_set) + len(data.validation_set) == 2


@pytest.mark.parametrize("end", [0, -300])  # without headers, and without the last voxels
def test_a_dataset_of_bad_cases_alone_is_refused(root, end):
    for image in (root / "imagesTr").iterdir():
        image.write_bytes(image.read_bytes()[:end])
    with pytest.raises(DatasetError, match=r"(?s)no usable case is left.*tiny_000.*tiny_003"):
        ready(root, skip_bad_cases=True)


def spoil_ct(root):
    """A dataset whose intensities are read while it is planned, and one case that cannot be."""
    image = root / "imagesTr" / "tiny_001.nii.gz"
    image.write_bytes(image.read_bytes()[:-300])
    description = json.loads((root / "dataset.json").read_text()) | {"modality": {"0": "CT"}}
    (root / "dataset.json").write_text(json.dumps(description))


def test_cases_whose_intensities_cannot_be_read_are_left_out_or_refused(root):
    spoil_ct(root)
    with pytest.raises(DatasetError, match=r"1 problem\(s\).*\n.*case tiny_001: "):
        module(root).prepare_plan()
    data = module(root, skip_bad_cases=True)
    with pytest.warns(UserWarning, match=r"1 case\(s\) are left out:\n.*case tiny_001: "):
        data.prepare_plan()
    assert data.plan.intensity[0].low < data.plan.intensity[0].high
    assert [case.case_id for case in data.dataset.cases] == ["tiny_000", "tiny_002", "tiny_003"]


def test_cases_far_from_the_spacing_of_the_plan_are_told_once(root):
    for folder in ("imagesTr", "labelsTr"):  # as if one header were wrong
        path = root / folder / "tiny_002.nii.gz"
        stored = nib.load(path)
        moved = nib.Nifti1Image(np.asarray(stored.dataobj), stored.affine @ np.diag([4, 1, 1, 1]))
        nib.save(moved, path)
    data = module(root)
    with pytest.warns(UserWarning, match=r"(?s)1 case\(s\) .*more than 3 times.*tiny_002: ") as caught:
        data.prepare_data()
    data.setup("fit")  # a second warning would be an error
    assert sum("more than 3 times" in str(w.message) for w in caught) == 1
    assert "tiny_001" not in str(caught[0].message)


def test_headers_that_cannot_be_used_are_refused_while_planning(root):
    (root / "labelsTr" / "tiny_002.nii.gz").write_bytes(b"no header")
    (root / "imagesTr" / "tiny_003.nii.gz").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"(?s)2 problem\(s\).*tiny_002.*tiny_003"):
        module(root).prepare_plan()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"num_folds": 5, "val_fraction": 0.2},
            "one way to divide the cases, got val_fraction=0.2 and num_folds=5",
        ),
        ({"fold": 2}, "fold=2 has no effect without num_folds"),
        ({"num_workers": -1}, 'expected num_workers >= 0 or "auto", got -1'),
    ],
)
def test_settings_that_contradict_each_other_are_refused(root, changes, text):
    with pytest.raises(ConfigError, match=text):
        module(root, **changes)


def test_every_setting_can_be_given_in_yaml(root):
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=SegmentationDataModule)
    settings = {
        "root": str(root),
        "spacing_mm": [1, 1, 2.5],
        "patch_size": "auto",
        "num_workers": 2,
        "normalization": ["percentile"],
        "augment": {"strength": 0.5, "gamma": {"probability": 0.9}, "mirror_axes": [1]},
    }
    parsed = parser.parse_object({"data": {"class_path": "NiftiDataModule", "init_args": settings}})
    data = parser.instantiate(parsed).data
    data.prepare_plan()
    assert data.plan.spacing_mm == (1.0, 1.0, 2.5)
    assert data.plan.normalization == ("percentile",)
    assert (data.augment_settings.strength, data.augment_settings.mirror_axes) == (0.5, (1,))
    assert (data.augment_settings.gamma.probability, data.augment_settings.gamma.high) == (0.9, 1.5)
    assert data.num_workers == 2


def test_the_cache_follows_the_users_wish(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache_dir() == tmp_path / "medconv"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert user_cache_dir() == tmp_path / "me" / ".cache" / "medconv"


def test_real_volumes(real_data, tmp_path):
    data = NiftiDataModule(real_data / "hippocampus", cache_dir=tmp_path, num_folds=5, fold=0)
    data.prepare_plan()
    assert data.plan.spacing_mm == (1.0, 1.0, 1.0)
    assert data.plan.patch_size == (40, 56, 40)
    split = data.split()
    assert (len(split.train), len(split.validation)) == (166, 42)
