"""Zeros around a scan change nothing that is planned; much of them in MRI means intensities within a mask."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medconv.errors import ConfigError
from medconv.io import discover
from medconv.planning import Plan, Proposal, Wishes, propose, propose_plan
from medconv.planning.dataset_cropping import Cropping


def padded(tiny_dataset, folder, widths, channel="MRI"):
    """The same scans in the same place, with zeros around them."""
    description = json.loads((tiny_dataset / "dataset.json").read_text())
    description["modality"] = {"0": channel}
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True)
        for path in sorted((tiny_dataset / kind).glob("*.nii.gz")):
            file = nib.load(path)
            shift = np.eye(4)
            shift[:3, 3] = [-low for low, _ in widths]
            data = np.pad(np.asarray(file.dataobj), widths)
            nib.save(nib.Nifti1Image(data, file.affine @ shift), folder / kind / path.name)
    (folder / "dataset.json").write_text(json.dumps(description))
    return discover(folder)


FEW, MANY = [(1, 0), (0, 1), (0, 0)], [(3, 9), (5, 2), (4, 1)]


@pytest.mark.parametrize("voxels", ["needed", "all"])
def test_zeros_around_the_scans_do_not_change_the_plan(tiny_dataset, tmp_path, voxels):
    plain = propose(discover(tiny_dataset), voxels=voxels)
    few = propose(padded(tiny_dataset, tmp_path / "few", FEW), voxels=voxels)
    many = propose(padded(tiny_dataset, tmp_path / "many", MANY), voxels=voxels)
    assert plain.plan.crop_to_nonzero
    assert not plain.plan.masked_normalization
    assert few.plan == plain.plan
    # but for the mask, which is what so many zeros are for
    assert many.plan == replace(plain.plan, masked_normalization=True)
    assert plain.network == few.network == many.network
    assert plain.training == few.training == many.training


def test_reasons_and_fingerprint_say_how_much_is_kept(tiny_dataset, tmp_path):
    found = propose(padded(tiny_dataset, tmp_path / "many", MANY))
    shares = found.fingerprint["share_kept_by_cropping"]
    expected = [24 * (26 - n) * 12 / (36 * (33 - n) * 17) for n in range(4)]
    assert shares["min"] == pytest.approx(min(expected), rel=1e-3)
    assert shares["median"] == pytest.approx(np.median(expected), rel=1e-3)
    assert found.reasons["plan.crop_to_nonzero"] == (
        "voxels that are 0 in every channel around a scan say nothing; cropping them keeps 37% of the voxels of the "
        "median case"
    )
    assert found.reasons["plan.masked_normalization"] == (
        "cropping keeps 37% of the voxels of the median case, less than 75%: zeros would decide mean and deviation"
    )
    assert Proposal.from_yaml(found.to_yaml()) == found


def test_ct_is_never_masked_and_mixed_channels_are(tiny_dataset, tmp_path):
    ct = propose_plan(padded(tiny_dataset, tmp_path / "ct", MANY, "CT"))
    assert ct.normalization == ("ct",)
    assert (ct.crop_to_nonzero, ct.masked_normalization) == (True, False)
    many = Cropping({}, (0.2, 0.3), is_used=True)
    assert not many.is_masked(("ct", "none"))
    assert many.is_masked(("ct", "zscore"))


@pytest.mark.parametrize(
    ("shares", "is_masked"), [((0.75,), False), ((0.74,), True), ((0.1, 0.8, 0.9), False)]
)
def test_the_median_case_decides_with_a_quarter_taken_off(shares, is_masked):
    assert Cropping({}, shares, is_used=True).is_masked(("zscore",)) is is_masked


def test_microscopy_is_not_cropped(tiny_dataset):
    found = discover(tiny_dataset)
    assert Cropping().plan_values(("zscore",)) == Cropping().reasons(("zscore",)) == Cropping().facts() == {}
    assert propose(found, Wishes()).plan.to_dict()["crop_to_nonzero"] is True


def test_plans_without_cropping_say_nothing_of_it_and_contradictions_are_refused(tiny_dataset):
    plan = propose_plan(discover(tiny_dataset))
    assert "masked_normalization" not in plan.to_dict()
    assert "crop_to_nonzero" not in replace(plan, crop_to_nonzero=False).to_dict()
    assert Plan.from_yaml(replace(plan, masked_normalization=True).to_yaml()).masked_normalization
    with pytest.raises(
        ConfigError, match=r"^masked_normalization: expected crop_to_nonzero with it; set both"
    ):
        replace(plan, crop_to_nonzero=False, masked_normalization=True)
    with pytest.raises(ConfigError, match=r"^crop_to_nonzero: expected true or false, got 'yes'$"):
        replace(plan, crop_to_nonzero="yes")


def test_hippocampus_gets_the_plan_of_nnunet_with_cropping(real_data):
    plan = propose_plan(discover(real_data / "hippocampus"))
    assert (plan.patch_size, plan.crop_to_nonzero, plan.masked_normalization) == ((40, 56, 40), True, False)
