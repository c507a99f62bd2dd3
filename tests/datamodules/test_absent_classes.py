from __future__ import annotations

import json
import shutil

import pytest

from medconv.datamodules import NiftiDataModule


def test_a_class_that_no_training_case_holds_is_named(tiny_dataset, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "data")
    description = json.loads((root / "dataset.json").read_text())
    description["labels"]["3"] = "unicorn"
    (root / "dataset.json").write_text(json.dumps(description))
    data = NiftiDataModule(root, num_folds=2, num_workers=0, cache_dir=tmp_path / "cache")
    with pytest.warns(
        UserWarning,
        match=r"none of the \d+ training cases holds label 3 \(unicorn\): the network cannot learn",
    ):
        data.setup("fit")
