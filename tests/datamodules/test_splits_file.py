from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from medconv.datamodules import NiftiDataModule
from medconv.datamodules.division import Division
from medconv.datamodules.splits_file import read_split, read_splits
from medconv.errors import ConfigError
from medconv.io import Case

IDS = ["a", "b", "c", "d"]
FOLDS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["d", "c", "b"], "val": ["a"]}]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps(FOLDS))
    return path


def test_a_fold_is_read_by_the_names_of_the_cases(file):
    split = read_split(file, 1, IDS)
    assert (split.train, split.validation) == ((1, 2, 3), (0,))


@pytest.mark.parametrize(
    ("content", "fold", "message"),
    [
        (FOLDS, 2, "expected a fold from 0 to 1, got fold 2"),
        ([{"train": ["a", "x"], "val": ["y"]}], 0, r"names 2 case\(s\) that the dataset lacks: x, y"),
        ([{"train": ["a", "b"], "val": ["b"]}], 0, "cases that train and validate: b; correct it"),
        ([{"train": ["a"], "val": []}], 0, "each with cases"),
        ({}, 0, 'expected a list of {"train"'),
        ("{", 0, "expected JSON, cannot read it"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(file, content, fold, message):
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        read_split(file, fold, IDS)


def test_a_missing_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no split file .*; give nnU-Net's splits_final\.json, or set num_folds"
    ):
        read_splits(tmp_path / "nowhere.json")


def test_folds_written_by_a_run_are_the_same_folds_when_read(tiny_dataset, tmp_path):
    settings = {"patch_size": [16, 16, 8], "cache_dir": tmp_path / "cache", "num_workers": 0}
    divided = NiftiDataModule(tiny_dataset, num_folds=3, fold=2, **settings)
    divided.prepare_plan()
    divided.save_splits(tmp_path / "splits_final.json")
    assert len(read_splits(tmp_path / "splits_final.json")) == 3
    told = NiftiDataModule(tiny_dataset, splits=tmp_path / "splits_final.json", fold=2, **settings)
    told.prepare_plan()
    assert told.split() == divided.split()
    assert told.folds() == divided.folds()
    every = sorted(i for split in divided.folds() for i in split.validation)
    assert every == [0, 1, 2, 3]


def test_two_ways_to_divide_are_refused(tiny_dataset, file):
    with pytest.raises(
        ConfigError, match="expected one way to divide the cases, got num_folds=5 and splits="
    ):
        NiftiDataModule(tiny_dataset, num_folds=5, splits=file)


@pytest.mark.parametrize("end", [0, -300])  # found while planning, and found while preparing
def test_a_split_file_may_name_a_case_that_was_left_out(tiny_dataset, tmp_path, end):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    names = [f"tiny_{number:03d}" for number in range(4)]
    file = tmp_path / "splits_final.json"
    file.write_text(
        json.dumps([{"train": names[:2], "val": names[2:]}, {"train": names[2:], "val": names[1:2]}])
    )
    image = root / "imagesTr" / "tiny_001.nii.gz"
    image.write_bytes(image.read_bytes()[:end])
    settings = {"patch_size": [16, 16, 8], "cache_dir": tmp_path / "cache", "num_workers": 0}
    data = NiftiDataModule(root, splits=file, skip_bad_cases=True, **settings)
    with pytest.warns(UserWarning, match=r"1 case\(s\) are left out"):
        data.setup("validate")
    ids = [case.case_id for case in data.dataset.cases]
    split = data.split()
    assert [ids[i] for i in split.train] == names[:1]
    assert [ids[i] for i in split.validation] == names[2:]
    data = NiftiDataModule(root, splits=file, fold=1, skip_bad_cases=True, **settings)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ConfigError, match="fold 1: no usable case is left to validate on; repair the cases"),
    ):
        data.setup("validate")


@pytest.mark.parametrize("way", [{"num_folds": 4}, {"val_fraction": 0.5}])
def test_a_repaired_case_moves_no_other(way):
    cases = [Case(f"c{n}", (Path("i"),), Path("l"), f"c{n}") for n in range(20)]
    division = Division(**{"val_fraction": None, "num_folds": None} | way, splits=None, fold=0, seed=0)

    def validation(usable):
        return [{usable[i].case_id for i in split.validation} for split in division.folds(cases, usable)]

    for bad in cases:
        left = [case for case in cases if case != bad]
        assert validation(left) == [side - {bad.case_id} for side in validation(cases)]
        assert set(division.split(cases, left).train).isdisjoint(division.split(cases, left).validation)
