"""The demo folder: a real dataset, made whole or not at all, never over something else."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medconv.datamodules.demo import DemoDataModule
from medconv.datamodules.demo_folder import generate_demo
from medconv.datamodules.demo_volumes import draw_volume
from medconv.errors import ConfigError, DatasetError
from medconv.io import discover, read_labels, read_volume

SMALL = {"version": 1, "num_cases": 2, "num_test_cases": 1, "demo_seed": 4}
OTHER = SMALL | {"demo_seed": 5}


def files(root):
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data" / "demo"
    generate_demo(folder, SMALL)
    return folder


def test_it_is_a_decathlon_dataset_with_unseen_volumes_beside(root):
    dataset = discover(root)
    assert [case.case_id for case in dataset.cases] == ["demo_000", "demo_001"]
    assert dict(dataset.label_names) == {0: "background", 1: "crescent", 2: "core"}
    assert [p.name for p in (root / "imagesTs").iterdir()] == ["demo_002.nii.gz"]
    assert [p.name for p in (root / "labelsTs").iterdir()] == ["demo_002.nii.gz"]


def test_files_hold_what_was_drawn_on_the_grid_it_was_drawn_on(root):
    scan = draw_volume(4, 1)
    image = read_volume(root / "imagesTr" / "demo_001.nii.gz")
    np.testing.assert_array_equal(image.data[0], scan.image)
    np.testing.assert_allclose(image.geometry.affine, scan.affine, atol=1e-4)
    labels = read_labels(root / "labelsTr" / "demo_001.nii.gz", like=image)
    np.testing.assert_array_equal(labels.data[0], scan.label)


def test_a_folder_of_the_same_numbers_is_reused(root):
    before = files(root)
    generate_demo(root, SMALL)
    assert files(root) == before


def test_other_numbers_replace_the_folder_and_leave_nothing_behind(tmp_path):
    root = tmp_path / "demo"
    generate_demo(root, SMALL)
    (root / "cache").mkdir()
    generate_demo(root, OTHER)
    assert json.loads((root / "demo.json").read_text()) == OTHER
    assert not (root / "cache").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_something_else_is_never_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(
        DatasetError, match="holds something other than a demo dataset, which is not overwritten"
    ):
        generate_demo(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_an_empty_folder_is_welcome(tmp_path):
    (tmp_path / "empty").mkdir()
    generate_demo(tmp_path / "empty", OTHER)
    assert len(discover(tmp_path / "empty").cases) == 2


def test_processes_that_start_together_agree(tmp_path):
    root = tmp_path / "demo"
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(generate_demo, root, SMALL) for _ in range(2)]:
            job.result()
    assert json.loads((root / "demo.json").read_text()) == SMALL
    assert len(discover(root).cases) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no space")

    monkeypatch.setattr("medconv.datamodules.demo_flavours.write_labels", fail)
    with pytest.raises(RuntimeError, match="no space"):
        generate_demo(tmp_path / "demo", SMALL)
    assert list(tmp_path.iterdir()) == []


def test_the_module_trains_on_some_and_tests_on_others(root):
    data = DemoDataModule(root, num_cases=2, num_test_cases=1, demo_seed=4, patch_size=[16, 16, 8])
    data.prepare_data()
    data.setup("fit")
    assert (len(data.training_set), len(data.validation_set), len(data.test_set)) == (1, 1, 1)
    assert data.has_test_cases
    assert data.example_images == root / "imagesTs"
    ids = [case["case_id"] for loader in (data.val_dataloader(), data.test_dataloader()) for case in loader]
    assert ids[-1] == "demo_002"
    assert data.plan.label_names == {0: "background", 1: "crescent", 2: "core"}
    assert (root / "cache").is_dir()


def test_the_plan_needs_no_trainer_and_makes_the_folder(tmp_path):
    data = DemoDataModule(tmp_path / "demo", num_cases=2, num_test_cases=1)
    data.prepare_plan()
    assert data.plan.spatial_dims == 3
    assert data.plan.spacing_mm[2] > 1.4


def test_too_few_cases_are_refused():
    with pytest.raises(ConfigError, match="expected num_cases >= 2, num_test_cases >= 1"):
        DemoDataModule("x", num_cases=1)
