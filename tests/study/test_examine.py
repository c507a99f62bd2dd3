"""What must hold of any network, and what only a symmetric one can do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import NiftiFactory, two_ellipsoids
from tiny_checkpoint import SPEC, save_checkpoint, tiny_plan
from torch import Tensor, nn

from medconv.errors import BadImageError, ConfigError, DatasetError
from medconv.inference import Predictor
from medconv.io import Case
from medconv.metrics import Structures
from medconv.study import UPRIGHT, Arm, Condition, Examination, Finding, examine_case
from medconv.study.examine import read_case
from medconv.study.measures import Classes

SYMMETRIC = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"conv": {"class_path": "SymmetricConv"}}}
STANDARD = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"conv": {"class_path": "StandardConv"}}}
NAMES = {1: "head", 2: "tail"}


class Thresholds(nn.Module):
    """Background, head, tail by the grey value alone: turned, it says the same."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-((x - value) ** 2) for value in (100.0, 160.0, 220.0)], dim=1)


@pytest.fixture
def threshold() -> Arm:
    plan = tiny_plan(normalization=("none",))
    return Arm("threshold", Predictor([Thresholds()], [plan], device="cpu"))


def network(tmp_path: Path, spec: dict[str, Any], name: str) -> Arm:
    path = save_checkpoint(tmp_path / f"{name}.ckpt", spec=spec, seed=3)
    return Arm(name, Predictor.from_checkpoint(path, device="cpu"))


@pytest.fixture
def case(tiny_nifti: NiftiFactory) -> Case:
    labels = two_ellipsoids((20, 16, 8), 0.1)
    image = (100 + 60.0 * labels).astype(np.float32)
    return Case("a", (tiny_nifti("a.nii.gz", image),), tiny_nifti("a_label.nii.gz", labels), "a")


def examination(
    *conditions: Condition, surfaces: bool = True, ignored: int | None = None, **options: Any
) -> Examination:
    return Examination(conditions, Classes(Structures(NAMES, ignore_label=ignored), surfaces), **options)


def test_a_network_sees_each_view_once_also_where_probabilities_are_compared(
    threshold: Arm, case: Case
) -> None:
    image, _ = read_case(case, threshold.predictor.plan)
    threshold.predictor.segment(image)  # reckons the memory of a tile, once
    patches: list[int] = []
    network = threshold.predictor.engine.members[0].network
    network.register_forward_pre_hook(lambda _, inputs: patches.append(len(inputs[0])))
    threshold.predictor.segment(image)
    once = sum(patches)
    patches.clear()
    found = list(examine_case(case, [threshold], examination(Condition("rotate", 90, "S"), surfaces=False)))
    assert sum(patches) == 2 * once > 0
    assert found[-1].agreement is not None
    assert found[-1].agreement.probability_difference == 0


def by_condition(findings: Any, arm: str) -> dict[Condition, Finding]:
    return {finding.condition: finding for finding in findings if finding.arm == arm}


TURNS = tuple(Condition("rotate", angle, "S") for angle in (90, 180, -90))


@pytest.mark.slow
def test_a_symmetric_network_says_the_same_of_a_turned_image_to_a_hundred_thousandth(
    tmp_path: Path, case: Case
) -> None:
    arms = [network(tmp_path, SYMMETRIC, "symmetric"), network(tmp_path, STANDARD, "standard")]
    findings = list(examine_case(case, arms, examination(*TURNS)))
    symmetric, standard = (by_condition(findings, arm.name) for arm in arms)
    for turn in TURNS:
        own, other = symmetric[turn].agreement, standard[turn].agreement
        assert own is not None
        assert other is not None
        assert own.probability_difference <= 1e-5
        assert own.do_tiles_turn
        assert own.equal_share > 0.999
        assert other.probability_difference > 1e-3
        np.testing.assert_allclose(
            [row.dice for row in symmetric[turn].rows],
            [row.dice for row in symmetric[UPRIGHT].rows],
            atol=2e-3,
        )


def test_a_network_of_grey_values_alone_turns_with_the_image(threshold: Arm, case: Case) -> None:
    angles = tuple(Condition("rotate", angle, axis) for axis in ("S", "R") for angle in (30, 45, 90))
    findings = list(examine_case(case, [threshold], examination(*angles, interpolation="linear")))
    found, ceiling = by_condition(findings, "threshold"), by_condition(findings, "")
    assert [row.dice for row in found[UPRIGHT].rows] == [1.0, 1.0]
    for condition in angles:
        agreement = found[condition].agreement
        assert agreement is not None
        if condition == Condition("rotate", 90, "S"):
            assert (agreement.equal_share, agreement.dice) == (1.0, 1.0)
            assert [row.dice for row in ceiling[condition].rows] == [1.0, 1.0]
            assert agreement.probability_difference == 0
        else:
            assert (
                agreement.equal_share > 0.93
            )  # half-way between background and tail lies the head; about R, voxels are resampled
            assert np.isnan(agreement.probability_difference) == (condition.level != 90)
            assert all(0.7 < row.dice <= 1 for row in ceiling[condition].rows)
        assert {row.diagonal_mm for row in found[condition].rows} == {found[UPRIGHT].rows[0].diagonal_mm}


def test_every_network_sees_the_same_noise_and_agreement_falls_with_it(threshold: Arm, case: Case) -> None:
    levels = tuple(Condition("noise", level) for level in (0.1, 1.0))
    twin = Arm("twin", threshold.predictor)
    findings = list(examine_case(case, [threshold, twin], examination(*levels)))
    one, other = by_condition(findings, "threshold"), by_condition(findings, "twin")
    assert all(one[c].rows == other[c].rows and one[c].agreement == other[c].agreement for c in levels)
    shares = [one[c].agreement.equal_share for c in levels]  # type: ignore[union-attr]
    assert shares[0] > shares[1]
    assert not by_condition(findings, "")  # nothing is turned, so nothing has a ceiling


def test_what_nobody_labelled_is_not_measured(tiny_nifti: NiftiFactory) -> None:
    plan = tiny_plan(normalization=("none",), ignore_label=3)
    arm = Arm("threshold", Predictor([Thresholds()], [plan], device="cpu"))
    labels = two_ellipsoids((20, 16, 8), 0.1)
    image = (100 + 60.0 * labels).astype(np.float32)
    image[:, :8] = 220  # wrong everywhere here, but nobody said what is right
    labels[:, :8] = 3
    case = Case("a", (tiny_nifti("a.nii.gz", image),), tiny_nifti("a_label.nii.gz", labels), "a")
    turns = (Condition("rotate", 30, "S"), Condition("rotate", 90, "S"))
    findings = list(examine_case(case, [arm], examination(*turns, ignored=3)))
    for finding in findings:
        dice = {row.name: row.dice for row in finding.rows}
        assert dice["tail"] > (0.7 if finding.condition.level == 30 else 0.999)


def test_without_surfaces_there_are_no_distances(threshold: Arm, case: Case) -> None:
    (finding,) = list(examine_case(case, [threshold], examination(surfaces=False)))
    assert finding.condition == UPRIGHT
    assert all(np.isnan(row.hd95_mm) and row.dice == 1 for row in finding.rows)


def test_a_slice_is_measured_as_an_image_of_two_axes(tiny_nifti: NiftiFactory) -> None:
    plan = tiny_plan(spatial_dims=2, spacing_mm=(0.8, 0.8), patch_size=(12, 12), orientation="native",
                     normalization=("none",))  # fmt: skip
    arm = Arm("threshold", Predictor([Thresholds()], [plan], device="cpu"))
    labels = two_ellipsoids((20, 16, 9), 0.1)[..., 4:5]
    case = Case("a", (tiny_nifti("a.nii.gz", (100 + 60.0 * labels).astype(np.float32)),),
                tiny_nifti("a_label.nii.gz", labels), "a")  # fmt: skip
    conditions = (Condition("rotate", 90, "2"), Condition("rotate", 45, "2"), Condition("blur", 0.5))
    findings = list(examine_case(case, [arm], examination(*conditions)))
    assert all(len(row.spacing_mm) == 2 for finding in findings for row in finding.rows)
    assert [row.dice for row in by_condition(findings, "threshold")[conditions[0]].rows] == [1, 1]
    with pytest.raises(ConfigError, match=r"a slice of 20 × 16 × 1 voxels has no plane that turns about 0"):
        list(examine_case(case, [arm], examination(Condition("rotate", 45, "0"))))


def test_bad_cases_are_refused_with_the_reason(threshold: Arm, case: Case, tiny_nifti: NiftiFactory) -> None:
    plan = threshold.predictor.plan
    with pytest.raises(DatasetError, match="case a: expected a label map to measure by, got none"):
        read_case(replace(case, label=None), plan)
    small = tiny_nifti("small.nii.gz", np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(Exception, match=r"expected the shape \(20, 16, 8\)"):
        read_case(replace(case, label=small), plan)
    broken = small.with_name("broken.nii.gz")
    broken.write_bytes(b"no volume")
    with pytest.raises(BadImageError, match=r"broken\.nii\.gz"):
        read_case(replace(case, images=(broken,)), plan)
    stranger = np.asanyarray(nib.load(case.label).dataobj) * 3  # type: ignore[arg-type]
    unnamed = replace(case, label=tiny_nifti("unnamed.nii.gz", stranger.astype(np.uint8)))
    with pytest.raises(BadImageError, match=r"unnamed.* expected only the labels \[0, 1, 2\], got also 3"):
        list(examine_case(unnamed, [threshold], examination()))


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected an interpolation of linear, cubic, got 'sinc'"):
        examination(interpolation="sinc")


def test_where_nobody_knows_the_pixel_size_nothing_is_said_in_mm() -> None:
    labels = two_ellipsoids((20, 16, 8), 0.1)[..., 4]
    with pytest.warns(UserWarning, match="px|pixel"):
        rows = Classes(Structures(NAMES)).rows("a", labels, labels, None)
    silent = Classes(Structures(NAMES), surfaces=False).rows("a", labels, labels, None)
    for row in (*rows, *silent):
        assert row.dice == 1
        assert np.isnan([row.hd95_mm, row.ref_volume_ml, row.diagonal_mm]).all()
        assert row.spacing_mm == ()
