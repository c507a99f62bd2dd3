"""Single objects from files to files: trained, measured, tuned and predicted with the commands."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from object_scenes import ellipsoids
from PIL import Image

import medconv
from medconv.cli.main import main
from medconv.datamodules import MicroscopyDataModule
from medconv.inference import separate
from medconv.io import discover, reader_for
from medconv.metrics import InstanceSegmentationTable, SegmentationTable, measure_instances
from medconv.planning import InstanceTarget, Wishes, propose
from medconv.training import build_task
from medconv.training.measuring import MeasuringQueue

SIDE = 32


def network(outputs):
    return {
        "class_path": "UNet",
        "init_args": {
            "spatial_dims": 2,
            "in_channels": 1,
            "num_classes": outputs,
            "channels": [4, 8, 8],
            "deep_supervision": True,
        },
    }


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """Four images of cells, numbered with gaps."""
    root = tmp_path_factory.mktemp("cells")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for number in range(4):
        rng = np.random.default_rng(number)
        objects = ellipsoids(rng, (SIDE, SIDE), 8, (4, 7))
        image = 30 + 150 * (objects > 0) + rng.normal(0, 8, objects.shape)
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / "images" / f"c{number}.png")
        Image.fromarray((objects * 300).astype(np.uint16)).save(root / "labels" / f"c{number}.png")
    return root


def module(root, folder, **settings):
    return MicroscopyDataModule(
        root,
        labels="instance",
        label_names=["cell"],
        patch_size=[16, 16],
        batch_size=2,
        steps_per_epoch=2,
        val_fraction=0.5,
        num_workers=0,
        cache_dir=folder / "cache",
        **settings,
    )


def fit(data, outputs, folder):
    torch.manual_seed(0)
    task = build_task({"network": network(outputs)})
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(task, data)
    return task, trainer


def run_alone(*words):
    """A command in a process of its own."""
    command = [sys.executable, "-m", "medconv", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(cells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    data = module(cells, folder)
    task, trainer = fit(data, 5, folder)
    trainer.save_checkpoint(folder / "cells.ckpt")
    return folder, data, task, trainer


@pytest.mark.slow
def test_objects_are_measured_in_training(run):
    _, data, task, trainer = run
    figures = trainer.callback_metrics
    drawn = sum(len(np.unique(case["label"])) - 1 for case in data.validation_set)
    assert task.measured["instances"]["ref_objects"] == drawn
    assert {"val/ap_50", "val/ap_75", "val/pq", "val/dice", "val/dice_cell"} <= set(figures)
    assert float(figures["val/pq"]) == pytest.approx(task.found.summary().pooled["pq"])
    assert [label["name"] for label in task.measured["labels"]] == ["cell"]


@pytest.mark.slow
def test_the_checkpoint_predicts_what_training_measured(run, cells):
    folder, data, task, _ = run
    predictor = medconv.load(folder / "cells.ckpt", device="cpu")
    for case, row in zip(data.validation_set.cases, task.found.rows, strict=True):
        prediction = predictor.predict(case.images[0])
        drawn = reader_for(case.label).read_labels(case.label).data[0]
        again = measure_instances(case.case_id, prediction.labels, drawn)
        # probabilities at a threshold may round otherwise in a folded network
        assert abs(again.both_voxels - row.both_voxels) <= 3


@pytest.mark.slow
def test_the_commands_tune_and_predict(run, cells, tmp_path, capsys):
    folder, *_ = run
    words = [folder / "cells.ckpt", cells / "labels", "-i", cells / "images", "--device", "cpu"]
    assert main(["tune-postprocessing", *map(str, words), "-o", str(tmp_path / "post.yaml")]) == 0
    said = capsys.readouterr().out
    assert "mean panoptic quality" in said
    assert "4 case(s) decided" in said
    chosen = yaml.safe_load((tmp_path / "post.yaml").read_text())["instances"]
    assert set(chosen) == {"mask_threshold", "seed_threshold", "min_voxels"}
    out = tmp_path / "masks"
    words = [folder / "cells.ckpt", "-i", cells / "images", "-o", out, "--device", "cpu"]
    words += [
        "--postprocessing",
        tmp_path / "post.yaml",
        "--save-probabilities",
        "--per-class",
        "--stats",
        tmp_path / "s.csv",
    ]
    assert main(["predict", *map(str, words)]) == 0
    masks = sorted(path for path in out.iterdir() if path.is_file())
    assert len(masks) == 4
    for path in masks:
        numbers = np.unique(reader_for(path).read_labels(path).data)
        assert numbers.tolist() == list(range(len(numbers)))
    table = (tmp_path / "s.csv").read_text()
    # masks that are there already are measured as what they are
    assert main(["predict", *map(str, words), "--skip-existing"]) == 0
    assert (tmp_path / "s.csv").read_text() == table


@pytest.mark.slow
def test_a_plan_file_may_ask_for_inside_and_rim(cells, tmp_path):
    own = module(cells, tmp_path)
    own.prepare_plan()
    wishes = Wishes(patch_size=(16, 16), instances=InstanceTarget("boundary", width_vox=1))
    propose(own.dataset, wishes).save(tmp_path / "plan.yaml")
    data = module(cells, tmp_path, plan=tmp_path / "plan.yaml")
    task, trainer = fit(data, 3, tmp_path)
    assert data.plan.instances == InstanceTarget("boundary", width_vox=1, name="cell")
    assert "instances" in task.measured
    trainer.save_checkpoint(tmp_path / "rim.ckpt")
    prediction = medconv.load(tmp_path / "rim.ckpt", device="cpu").predict(own.dataset.cases[0].images[0])
    assert prediction.has_objects


@pytest.mark.slow
def test_inside_and_rim_from_the_command_line_to_measured_objects(cells, tmp_path, capsys):
    """`fit`, `info`, `predict` and `evaluate` of three classes that words on the command line choose."""
    (tmp_path / "own.yaml").write_text(
        yaml.safe_dump(
            {
                "model": {"network": {**network(5), "class_path": "medconv.models.UNet"}},
                "data": {
                    "class_path": "medconv.datamodules.MicroscopyDataModule",
                    "init_args": {
                        "root": str(cells),
                        "labels": "instance",
                        "label_names": ["cell"],
                        "patch_size": [16, 16],
                        "batch_size": 2,
                        "steps_per_epoch": 2,
                        "val_fraction": 0.5,
                        "num_workers": 0,
                        "cache_dir": str(tmp_path / "cache"),
                    },
                },
            }
        )
    )
    words = [
        "fit",
        "--config",
        tmp_path / "own.yaml",
        "--config",
        "debug",
        "--runs",
        tmp_path,
        "--name",
        "rim",
    ]
    words += ["--config", "nuclei_boundary", "--data.init_args.instances.width_vox", "1"]
    assert run_alone(*words).returncode == 0
    best = tmp_path / "rim/best.ckpt"
    assert list((tmp_path / "rim/overlays").glob("*.png"))
    assert "data:image/png" in (tmp_path / "rim/objects.html").read_text()  # the worst images
    plan = medconv.load(best, device="cpu").plan
    assert plan.instances == InstanceTarget("boundary", width_vox=1, name="cell")
    assert main(["info", str(best)]) == 0
    assert "taught as kind boundary, width_vox 1" in capsys.readouterr().out
    out = tmp_path / "masks"
    assert main(["predict", "-i", str(cells / "images"), "-o", str(out), "--device", "cpu", str(best)]) == 0
    main(["evaluate", str(out), str(cells / "labels"), "--instances"])
    shown = capsys.readouterr()
    assert "4 of 4 case(s) measured" in shown.err
    assert "AP@0.5" in shown.out


def test_a_target_for_labels_is_refused(tiny_dataset):
    with pytest.raises(
        medconv.errors.ConfigError, match="instances: expected label maps that number objects, but"
    ):
        propose(discover(tiny_dataset), Wishes(instances=InstanceTarget()), voxels="needed")


def test_the_queue_measures_objects_and_their_class():
    objects = InstanceSegmentationTable()
    queue = MeasuringQueue(SegmentationTable({0: "background", 1: "cell"}), objects=objects)
    drawn = ellipsoids(np.random.default_rng(0), (SIDE, SIDE), 6, (4, 6))
    shells = np.stack([drawn > 0, drawn > 0]).astype(np.float16)
    told_apart: Future = Future()
    told_apart.set_result(separate(shells))
    rows = queue._measure_objects("a", told_apart, drawn, (1.0, 1.0))
    queue.finish()
    assert rows[0].dice == 1.0
    assert objects.compute().rows[0] == measure_instances("a", separate(shells), drawn)
