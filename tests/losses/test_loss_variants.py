"""Focal, Tversky, boundary, clDice and sums of losses against MONAI, scipy and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss as MonaiDiceLoss
from monai.losses import FocalLoss as MonaiFocalLoss
from monai.losses import SoftclDiceLoss as MonaiSoftclDiceLoss
from monai.losses import TverskyLoss as MonaiTverskyLoss
from scipy.ndimage import distance_transform_edt

from medconv.errors import ConfigError, ShapeError
from medconv.losses import (
    BoundaryLoss,
    CenterlineDiceLoss,
    CompoundLoss,
    CrossEntropyLoss,
    DeepSupervisionLoss,
    DiceLoss,
    FocalLoss,
    TverskyLoss,
)
from medconv.losses.centerline import soft_skeleton

SPATIAL = [(9, 8), (6, 5, 4)]
WEIGHTS = [0.5, 1.0, 2.0, 0.0]


def draw(spatial, batch=3, classes=4):
    torch.manual_seed(1)
    return torch.randn(batch, classes, *spatial), torch.randint(0, classes, (batch, 1, *spatial))


@pytest.mark.parametrize("spatial", SPATIAL, ids=str)
@pytest.mark.parametrize("batch", [False, True])
def test_squared_dice_equals_monai(spatial, batch):
    logits, target = draw(spatial)
    settings = {"softmax": True, "to_onehot_y": True, "include_background": False, "batch": batch}
    oracle = MonaiDiceLoss(squared_pred=True, smooth_nr=0.1, smooth_dr=0.1, **settings)
    torch.testing.assert_close(
        DiceLoss(squared=True, batch=batch, smooth=0.1)(logits, target), oracle(logits, target)
    )


@pytest.mark.parametrize("spatial", SPATIAL, ids=str)
@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.5])
def test_focal_equals_monai(spatial, gamma):
    logits, target = draw(spatial)
    oracle = MonaiFocalLoss(gamma=gamma, to_onehot_y=True, use_softmax=True)
    # MONAI divides by voxels times classes
    torch.testing.assert_close(FocalLoss(gamma=gamma)(logits, target), 4 * oracle(logits, target))


def test_focal_with_weights_equals_a_loop_and_without_gamma_cross_entropy():
    logits, target = draw((5, 4))
    q = torch.softmax(logits.double(), 1).numpy()
    above = below = 0.0
    for b, i, j in np.ndindex(3, 5, 4):
        t = int(target[b, 0, i, j])
        above -= WEIGHTS[t] * (1 - q[b, t, i, j]) ** 2 * np.log(q[b, t, i, j])
        below += WEIGHTS[t]
    assert FocalLoss(class_weights=WEIGHTS)(logits, target).item() == pytest.approx(above / below, rel=1e-5)
    plain = CrossEntropyLoss(class_weights=WEIGHTS)(logits, target)
    torch.testing.assert_close(FocalLoss(gamma=0, class_weights=WEIGHTS)(logits, target), plain)


@pytest.mark.parametrize("spatial", SPATIAL, ids=str)
@pytest.mark.parametrize("batch", [False, True])
def test_tversky_equals_monai_and_with_equal_prices_dice(spatial, batch):
    logits, target = draw(spatial)
    settings = {"softmax": True, "to_onehot_y": True, "include_background": False, "batch": batch}
    oracle = MonaiTverskyLoss(alpha=0.2, beta=0.7, smooth_nr=0.1, smooth_dr=0.1, **settings)
    ours = TverskyLoss(alpha=0.2, beta=0.7, batch=batch, smooth=0.1)
    torch.testing.assert_close(ours(logits, target), oracle(logits, target))
    even = TverskyLoss(alpha=0.5, beta=0.5, batch=batch, smooth=0.1)
    torch.testing.assert_close(even(logits, target), DiceLoss(batch=batch, smooth=0.2)(logits, target))


@pytest.mark.parametrize(("spatial", "spacing"), [((9, 8), (0.5, 2.0)), ((6, 5, 4), (1.0, 0.5, 3.0))])
def test_boundary_loss_equals_scipys_distances_in_mm(spatial, spacing):
    logits, target = draw(spatial)
    q, total = torch.softmax(logits.double(), 1).numpy(), 0.0
    for b, k in np.ndindex(3, 3):
        truth = target[b, 0].numpy() == k + 1
        outside = distance_transform_edt(~truth, sampling=spacing)
        phi = outside - distance_transform_edt(truth, sampling=spacing)
        total += (phi * (q[b, k + 1] - truth)).sum()
    expected = total / (3 * target.numel())
    assert BoundaryLoss(spacing_mm=spacing)(logits, target).item() == pytest.approx(expected, rel=1e-5)
    assert BoundaryLoss()(logits, target, spacing_mm=spacing).item() == pytest.approx(expected, rel=1e-5)


def test_boundary_loss_takes_the_larger_voxels_of_a_coarser_output():
    logits, target = draw((8, 8))
    coarse = torch.zeros(3, 4, 4, 8)
    seen = []

    class Spy(BoundaryLoss):
        def of_scores(self, scores):
            seen.append(scores.spacing_mm)
            return super().of_scores(scores)

    DeepSupervisionLoss(Spy(), spacing_mm=(1.0, 0.5))([logits, coarse], target)
    assert seen == [(1.0, 0.5), (2.0, 0.5)]
    with pytest.raises(ShapeError, match="BoundaryLoss: expected spacing_mm of 2 axes, got None"):
        BoundaryLoss()(logits, target)


@pytest.mark.parametrize("spatial", [(12, 11), (8, 7, 6)], ids=str)
def test_centerline_dice_equals_monai(spatial):
    logits, target = draw(spatial, batch=1, classes=2)
    q = torch.softmax(logits, 1)
    one_hot = torch.nn.functional.one_hot(target[:, 0], 2).movedim(-1, 1).float()
    oracle = MonaiSoftclDiceLoss(iter_=3, smooth_nr=1.0, smooth_dr=1.0, smooth=1e-9)
    # MONAI sums over all channels that it is given: one here
    ours = CenterlineDiceLoss(alpha=1.0, iterations=3)(logits, target)
    torch.testing.assert_close(ours, oracle(q[:, 1:], one_hot[:, 1:]))


def test_a_gap_in_a_vessel_costs_centerline_dice_more_than_as_many_voxels_at_its_side():
    target = torch.zeros(1, 1, 15, 30).long()
    target[..., 6:9, :] = 1

    def logits_of(mask):
        return 40.0 * torch.nn.functional.one_hot(mask[:, 0], 2).movedim(-1, 1)

    gap, thin = target.clone(), target.clone()
    gap[..., 6:9, 14] = 0
    thin[..., 6, 10:13] = 0
    loss = CenterlineDiceLoss(alpha=1.0)
    assert loss(logits_of(gap), target) > 3 * loss(logits_of(thin), target)
    assert soft_skeleton(target.float(), 3).sum() == 30


def test_a_sum_of_losses_is_the_sum():
    logits, target = draw((6, 5))
    parts = [DiceLoss(), FocalLoss(), TverskyLoss()]
    expected = 2 * parts[0](logits, target) + 0.5 * parts[2](logits, target)
    torch.testing.assert_close(CompoundLoss(parts, [2, 0, 0.5])(logits, target), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FocalLoss(gamma=0.5), "expected gamma of 0, or of 1 and more, got 0.5"),
        (lambda: FocalLoss(class_weights=[0, 0]), "class_weights that are not negative and not all 0"),
        (lambda: TverskyLoss(alpha=0), "expected positive alpha, beta and smooth, got 0"),
        (lambda: BoundaryLoss(limit_mm=0), "expected positive limit_mm and spacing_mm, got 0 and None"),
        (lambda: CenterlineDiceLoss(iterations=0), "alpha from 0 to 1 and at least 1 iteration"),
        (lambda: CompoundLoss([]), "expected at least one loss"),
        (lambda: CompoundLoss([DiceLoss()], [1, 2]), "got 1 losses and weights"),
    ],
)
def test_settings_outside_their_range_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
