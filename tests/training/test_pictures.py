from __future__ import annotations

from dataclasses import replace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from medconv.datamodules import NiftiDataModule
from medconv.reporting import worst_first
from medconv.training import OverlayPictures, SegmentationTask, build_task

NETWORK = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 3, "in_channels": 1, "num_classes": 3, "channels": [2, 4]},
}


@pytest.fixture
def data(tiny_dataset, tmp_path):
    module = NiftiDataModule(
        tiny_dataset,
        patch_size=[16, 16, 8],
        batch_size=1,
        steps_per_epoch=1,
        num_folds=2,
        num_workers=0,
        cache_dir=tmp_path / "cache",
    )
    module.prepare_plan()
    return module


class Drawn:
    """Stands for the drawing: notes what it is given."""

    def __init__(self):
        self.calls = []

    def __call__(self, image, truth, labels, spacing_mm, *, path, title, **settings):
        path.write_text(title)
        self.note, self.unit = settings["note"], settings["unit"]
        self.calls.append((title, image, truth, labels, settings.get("at_disagreement", False)))


@pytest.mark.parametrize("visit", ["validate", "test"])
@pytest.mark.parametrize("unit", ["mm", "px"])
def test_the_worst_cases_are_drawn_when_a_network_is_measured(data, tmp_path, monkeypatch, visit, unit):
    """Predictions that grow worse and better from case to case, by what share of the truth is missing."""
    asked = []

    def predict(task, image, *, mirror):
        del task, mirror
        sample = data.validation_set[len(asked)]
        missing = (0.6, 0.0, 0.9, 0.3)[len(asked) % 4]
        asked.append(sample["case_id"])
        target = sample["target"][0, 0].long()
        target[: round(missing * len(target))] = 0
        assert image.shape[2:] == target.shape
        return torch.nn.functional.one_hot(target, 3).movedim(-1, 0)[None].float()

    monkeypatch.setattr(SegmentationTask, "predict_logits", predict)
    drawn = Drawn()
    task = build_task({"network": NETWORK})
    data.plan = replace(data.plan, unit=unit)
    run = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[OverlayPictures(drawn, tmp_path / "overlays", num_worst=1)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    getattr(run, visit)(task, data, verbose=False)
    assert len(asked) > 1
    ((case_id, image, truth, labels, at_disagreement),) = drawn.calls
    assert case_id == worst_first(task.result)[0]
    assert at_disagreement
    assert drawn.unit == unit
    said = [f"{row.name} {row.dice:.3f}" for row in task.result.rows if row.case_id == case_id]
    assert drawn.note == "Dice:  " + "   ".join(said)
    place = asked.index(case_id)
    sample = data.validation_set[place]
    np.testing.assert_array_equal(image, sample["image"][0, 0])
    np.testing.assert_array_equal(truth, sample["target"][0, 0])
    assert labels.dtype == np.uint8
    kept = labels != 0
    np.testing.assert_array_equal(labels[kept], truth[kept])
    assert (labels != truth).any()
    assert [path.name for path in (tmp_path / "overlays").iterdir()] == [f"{case_id}.png"]


def test_the_same_first_case_is_drawn_while_a_network_learns(data, tmp_path):
    drawn = Drawn()
    task = build_task({"network": NETWORK})
    pictures = OverlayPictures(drawn, tmp_path / "overlays", num_cases=1, every_n_validations=2)
    pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        callbacks=[pictures],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_epochs=3,
    ).fit(task, data)
    first = data.validation_set[0]["case_id"]
    assert [(title, settings) for title, *_, settings in drawn.calls] == [(first, False)] * 2
