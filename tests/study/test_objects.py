"""Single objects under disturbance: numbers travel, scores are those of `evaluate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medconv.inference import Predictor
from medconv.io import Case, volume_from_array, write_labels, write_volume
from medconv.metrics import InstanceTable
from medconv.planning import InstanceTarget, Plan
from medconv.study import (
    UPRIGHT,
    Arm,
    CaseFindings,
    Condition,
    Examination,
    Robustness,
    curve_points,
    examine_case,
)
from medconv.study.measures import Objects


class Foreground(nn.Module):
    """Bright is object, to the innermost shell: no shape, so objects that touch are one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([50 * (x - 0.5)] * 3, dim=1)


@pytest.fixture
def arm() -> Arm:
    plan = Plan(
        spatial_dims=2,
        channel_names=("grey",),
        spacing_mm=(1.0, 1.0),
        patch_size=(32, 32),
        normalization=("none",),
        orientation="native",
        **InstanceTarget(levels=3, name="cell").plan_values(),
    )
    return Arm("threshold", Predictor([Foreground()], [plan], device="cpu"))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Discs with numbers that are neither small nor consecutive, one of them cut by the border."""
    x, y = np.meshgrid(np.arange(48), np.arange(40), indexing="ij")
    labels = np.zeros((48, 40, 1), np.uint32)
    for number, (i, j) in zip((7, 70_001, 3, 900), ((10, 10), (30, 12), (25, 30), (46, 25)), strict=True):
        labels[np.hypot(x - i, y - j) < 7] = number
    like = volume_from_array((labels > 0).astype(np.float32), (1.0, 1.0, 1.0))
    write_volume(tmp_path / "a.nii.gz", like.data[0], like)
    write_labels(tmp_path / "a_label.nii.gz", labels, like)
    return Case("a", (tmp_path / "a.nii.gz",), tmp_path / "a_label.nii.gz", "a")


def test_objects_keep_their_numbers_and_scores_under_rotation(arm: Arm, case: Case) -> None:
    angles = tuple(Condition("rotate", angle, "2") for angle in (30, 45, 90))
    noise = Condition("noise", 5.0)
    examination = Examination((*angles, noise), Objects())
    findings = tuple(examine_case(case, [arm], examination))
    by_condition = {f.condition: f for f in findings if f.arm}
    assert all(by_condition[c].rows[0].scores["ap_50"] == 1 for c in (UPRIGHT, *angles))  # type: ignore[union-attr]
    assert by_condition[noise].rows[0].scores["ap_50"] < 0.5  # type: ignore[union-attr]
    for angle in angles:
        agreement = by_condition[angle].agreement
        assert agreement is not None
        assert agreement.objects_pq > (0.99 if angle.level == 90 else 0.85)
    ceilings = [f.rows[0].scores["pq"] for f in findings if not f.arm]  # type: ignore[union-attr]
    assert all(0.9 < ceiling < 1 for ceiling in ceilings[:2])
    assert ceilings[2] == 1

    found = Robustness([CaseFindings("a", findings)], ["threshold"], examination.conditions, Objects())
    assert isinstance(found.table("threshold"), InstanceTable)
    points = {(p.level, p.score): p for p in curve_points(found, ["ap_50", "pq"]) if p.series == "rotate 2"}
    assert (
        points[45, "ap_50"].score_interval.mean == found.table("threshold", angles[1]).summary().mean["ap_50"]
    )
    assert points[45, "ap_50"].name == "objects"
    assert points[45, "pq"].ceiling == pytest.approx(ceilings[1])
