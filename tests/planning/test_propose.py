from dataclasses import replace

import numpy as np
import pytest

from medconv.errors import ConfigError, DatasetError
from medconv.io import discover
from medconv.planning import Plan, propose_plan


def test_proposal_follows_the_rules(tiny_dataset):
    plan = propose_plan(discover(tiny_dataset))
    assert plan == Plan(
        spatial_dims=3,
        channel_names=("MRI",),
        label_names={0: "background", 1: "head", 2: "tail"},
        spacing_mm=(0.8, 0.8, 2.5),
        patch_size=(24, 28, 12),
        normalization=("zscore",),
        orientation="RAS",
        crop_to_nonzero=True,
    )


def test_what_is_given_is_kept(tiny_dataset):
    found = discover(tiny_dataset)
    plan = propose_plan(
        found, spacing_mm=(1, 1, 2), patch_size=(16, 16, 8), normalization=("none",), orientation="LPS"
    )
    assert plan.spacing_mm == (1, 1, 2)
    assert plan.patch_size == (16, 16, 8)
    assert plan.normalization == ("none",)
    assert plan.orientation == "LPS"
    assert np.prod(propose_plan(found, memory_gb=0.01).patch_size) < np.prod(propose_plan(found).patch_size)
    with pytest.raises(ConfigError, match="patch_size: expected 3 entries"):
        propose_plan(found, patch_size=(16, 16))


def test_spacing_that_is_given_changes_the_patch(tiny_dataset):
    found = discover(tiny_dataset)
    assert propose_plan(found, spacing_mm=(2.4, 2.4, 2.5)).patch_size == (8, 8, 12)


def test_ct_gets_the_intensities_of_the_foreground(tiny_dataset):
    found = replace(discover(tiny_dataset), channel_names=("CT",))
    plan = propose_plan(found)
    assert plan.normalization == ("ct",)
    assert 160 < plan.intensity[0].mean < 220
    assert Plan.from_yaml(plan.to_yaml()) == plan


def test_single_slices_make_a_2d_plan(tmp_path, tiny_nifti):
    (tmp_path / "x.json").write_text('{"channel_names": {"0": "T1"}, "labels": {"background": 0, "cell": 1}}')
    for n in range(2):
        tiny_nifti(f"i{n}.nii", np.random.default_rng(n).random((60, 40, 1)), np.diag([0.5, 0.7, 9, 1]))
        tiny_nifti(f"l{n}.nii", np.ones((60, 40, 1), np.uint8), np.diag([0.5, 0.7, 9, 1]))
    (tmp_path / "x.csv").write_text("image,label\ni0.nii,l0.nii\ni1.nii,l1.nii\n")
    plan = propose_plan(discover(tmp_path / "x.csv"))
    assert (plan.spatial_dims, plan.orientation) == (2, "native")
    assert plan.spacing_mm == pytest.approx((0.5, 0.7))
    assert plan.patch_size == (64, 40)


def test_labels_without_names_are_refused_with_the_remedy(tiny_dataset):
    with pytest.raises(
        DatasetError,
        match=r"expected names of the labels, got none; give --label-names .* or declare them in a",
    ):
        propose_plan(replace(discover(tiny_dataset), label_names={}))


def test_hippocampus_gets_the_plan_of_nnunet(real_data):
    plan = propose_plan(discover(real_data / "hippocampus"))
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert plan.patch_size == (40, 56, 40)
    assert plan.normalization == ("zscore",)
    assert plan.orientation == "RAS"
