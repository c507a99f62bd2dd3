"""Regions and unlabelled voxels, from files to a prediction."""

from __future__ import annotations

import json
import shutil

import lightning.pytorch as pl
import nibabel as nib
import numpy as np
import pytest
import torch

import medconv
from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError, DatasetError
from medconv.inference import read_checkpoint
from medconv.inference.ensemble import LogMeanProbability
from medconv.losses import CrossEntropyLoss
from medconv.planning import Plan
from medconv.training import LastCheckpoint, build_task
from medconv.training.supervise import supervise
from medconv.transforms.decide import decide

NETWORK = {
    "class_path": "UNet",
    "init_args": {
        "spatial_dims": 3,
        "in_channels": 1,
        "num_classes": 2,
        "channels": [2, 4, 4],
        "deep_supervision": True,
    },
}
REGIONS = {"whole": [1, 2], "end": [2]}


@pytest.fixture
def unsure(tiny_dataset, tmp_path):
    """The tiny dataset with a slab that nobody labelled, value 7."""
    root = shutil.copytree(tiny_dataset, tmp_path / "unsure")
    for path in (root / "labelsTr").iterdir():
        image = nib.load(path)
        labels = np.asarray(image.dataobj).copy()
        labels[:6] = 7
        nib.save(nib.Nifti1Image(labels, image.affine, image.header), path)
    return root


def module(root, folder, **settings):
    data = NiftiDataModule(
        root,
        patch_size=[16, 16, 8],
        batch_size=1,
        steps_per_epoch=2,
        num_folds=2,
        num_workers=0,
        cache_dir=folder / "cache",
        **settings,
    )
    data.prepare_plan()
    return data


def fit(data, folder, **settings):
    task = build_task({"network": NETWORK, "lr": 1e-2, **settings})
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[LastCheckpoint(filename="last", dirpath=folder / "run")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    return task


COMPOUND = {
    "class_path": "CompoundLoss",
    "init_args": {
        "losses": [{"class_path": "DiceLoss", "init_args": {"squared": True}}, {"class_path": "FocalLoss"}],
        "weights": [1.0, 0.5],
    },
}


@pytest.mark.parametrize(
    "loss",
    [
        None,
        pytest.param("BoundaryLoss", marks=pytest.mark.slow),
        pytest.param(COMPOUND, marks=pytest.mark.slow),
    ],
    ids=["default", "boundary", "compound"],
)
def test_regions_and_ignored_voxels_from_a_configuration_to_a_prediction(unsure, tmp_path, loss):
    data = module(unsure, tmp_path, regions=REGIONS, ignore_label=7)
    assert (data.plan.num_classes, data.plan.num_labels, data.plan.unknown_label) == (2, 3, 3)
    task = fit(data, tmp_path, loss=loss)
    assert {row.name for row in task.result.rows} == {"whole", "end"}
    assert "val/dice_whole" in task.trainer.callback_metrics
    case = data.validation_set[0]
    assert (case["label"] == 7).any()
    assert 3 in case["target"]
    row = next(r for r in task.result.rows if r.case_id == case["case_id"] and r.name == "whole")
    assert row.ref_voxels == np.isin(case["label"], [1, 2]).sum()

    checkpoint = read_checkpoint(tmp_path / "run" / "last.ckpt")
    assert checkpoint.plan == data.plan
    assert checkpoint.plan.regions == {"whole": (1, 2), "end": (2,)}
    predictor = medconv.load(tmp_path / "run" / "last.ckpt")
    image = next((unsure / "imagesTr").iterdir())
    assert set(np.unique(predictor.predict(image).labels)) <= {0, 1, 2}


def test_a_gradient_never_comes_from_voxels_that_nobody_labelled(unsure, tmp_path):
    data = module(unsure, tmp_path, regions=REGIONS, ignore_label=7)
    data.prepare_data()
    data.setup("fit")
    task = build_task({"network": NETWORK})
    task.loss = supervise(task.loss.loss, data.plan)
    target = torch.full((1, 1, 8, 8, 8), 3, dtype=torch.uint8)
    target[..., 4:, :, :] = 1
    outputs = [torch.randn(1, 2, 8, 8, 8, requires_grad=True), torch.randn(1, 2, 4, 4, 4, requires_grad=True)]
    task.loss(outputs, target).backward()
    for output in outputs:
        half = output.shape[2] // 2
        assert not output.grad[:, :, :half].any()
        assert output.grad[:, :, half:].all()


def test_a_region_written_later_lies_over_an_earlier_one():
    scores = torch.tensor([[1.0, 1.0, -1.0, -1.0], [-1.0, 1.0, 1.0, -1.0]])
    assert decide(scores, (1, 2)).tolist() == [1, 2, 2, 0]
    assert decide(scores, (2, 1)).tolist() == [2, 1, 1, 0]


def test_two_networks_agree_on_regions_by_their_mean_probability():
    mean = LogMeanProbability(exclusive=False)
    one, other = torch.randn(1, 2, 5, dtype=torch.float64), torch.randn(1, 2, 5, dtype=torch.float64)
    mean.add(one)
    mean.add(other)
    torch.testing.assert_close(mean.result().sigmoid(), (one.sigmoid() + other.sigmoid()) / 2)


def test_a_plan_with_regions_survives_yaml_and_one_without_does_not_mention_them():
    names = {0: "background", 1: "a", 2: "b"}
    plain = Plan(3, ("T1",), names, (1.0, 1.0, 1.0), (8, 8, 8), ("zscore",))
    assert not {"regions", "regions_class_order", "ignore_label"} & set(plain.to_dict())
    rich = Plan.from_dict(
        {**plain.to_dict(), "regions": {"all": [1, 2]}, "regions_class_order": [1], "ignore_label": 9}
    )
    assert Plan.from_yaml(rich.to_yaml()) == rich
    assert (rich.num_classes, rich.num_labels) == (1, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regions": {"all": [1, 5]}}, r"expected 'all' to be a list of labels among \[1, 2\], got \[1, 5\]"),
        ({"regions": {"all": [1, 2]}}, "'all' has the labels .* set regions_class_order"),
        ({"regions_class_order": [1]}, "regions_class_order has no effect without regions"),
        ({"ignore_label": 0}, "ignore_label: expected a value above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tiny_dataset, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        module(tiny_dataset, tmp_path, **settings)


def test_without_the_ignore_label_its_value_is_refused_and_a_wrong_head_is_explained(unsure, tmp_path):
    data = module(unsure, tmp_path)
    with pytest.raises(DatasetError, match=r"expected only the labels \[0, 1, 2\], got also 7"):
        data.setup("fit")
    data = module(
        unsure,
        tmp_path,
        regions={"whole": [1, 2], "end": [2], "again": [1]},
        ignore_label=7,
        regions_class_order=[1, 2, 1],
    )
    with pytest.raises(
        DatasetError, match=r"num_classes 2, the data 3; .* regions \['whole', 'end', 'again'\]"
    ):
        fit(data, tmp_path)


def test_regions_of_nnunets_description_reach_the_plan(tiny_dataset, tmp_path):
    root = shutil.copytree(tiny_dataset, tmp_path / "nnunet")
    description = json.loads((root / "dataset.json").read_text())
    description["labels"] = {"background": 0, "whole": [1, 2], "end": 2, "ignore": 3}
    description["regions_class_order"] = [1, 2]
    (root / "dataset.json").write_text(json.dumps(description))
    plan = module(root, tmp_path).plan
    assert plan.regions == {"whole": (1, 2), "end": (2,)}
    assert (plan.regions_class_order, plan.ignore_label, plan.label_names[1]) == ((1, 2), 3, "label_1")


def test_the_loss_of_a_plan_counts_labels_outside_all_regions():
    names = dict(enumerate(("background", "a", "b", "c")))
    rules = {"regions": {"y": (2,)}, "regions_class_order": (2,)}
    plan = Plan(3, ("T1",), names, (1.0, 1.0, 1.0), (8, 8, 8), ("zscore",), **rules)
    target = torch.full((1, 1, 2, 2, 2), 3, dtype=torch.uint8)
    target[..., 0, 0, 0] = 2
    outputs = [torch.zeros(1, 1, 2, 2, 2), torch.full((1, 1, 1, 1, 1), -20.0)]
    loss = supervise(CrossEntropyLoss(), plan)
    torch.testing.assert_close(loss(outputs, target), loss(outputs[:1], target) * 2 / 3)
