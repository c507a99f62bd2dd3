from __future__ import annotations

import pytest
import torch
from monai.losses import DiceLoss as MonaiDiceLoss

from medconv.errors import ConfigError
from medconv.losses import DiceLoss


def logits_of(probabilities: list[list[float]]) -> torch.Tensor:
    """Logits (1, 2, H, W) of a given foreground probability a pixel."""
    p = torch.tensor(probabilities)[None, None]
    return torch.cat([1 - p, p], 1).log()


def test_hand_made_case_of_four_pixels() -> None:
    target = torch.tensor([[[[1, 0], [1, 0]]]])
    logits = logits_of([[0.75, 0.25], [0.5, 0.5]])
    # overlap 0.75 + 0.5 = 1.25, truth 2, predicted 2
    assert DiceLoss(smooth=1e-9)(logits, target).item() == pytest.approx(1 - 2.5 / 4)
    # background: overlap 0.75 + 0.5, the same by symmetry
    assert DiceLoss(include_background=True, smooth=1e-9)(logits, target).item() == pytest.approx(1 - 2.5 / 4)
    assert DiceLoss(smooth=2.0)(logits, target).item() == pytest.approx(1 - 4.5 / 6)


def test_batch_dice_pools_the_voxels_before_dividing() -> None:
    target = torch.tensor([[[[1, 1]]], [[[1, 0]]]])
    logits = torch.cat([logits_of([[0.5, 0.5]]), logits_of([[1 - 1e-7, 1e-7]])])
    assert DiceLoss()(logits, target).item() == pytest.approx(1 - (2 * 1 / 3 + 1) / 2, abs=1e-4)
    assert DiceLoss(batch=True)(logits, target).item() == pytest.approx(1 - 2 * 2 / 5, abs=1e-4)


def test_a_false_alarm_on_an_absent_class_costs_the_whole_term_unless_the_batch_has_the_class() -> None:
    target = torch.tensor([[[[0, 0]]], [[[1, 1]]]])
    logits = torch.cat([logits_of([[0.5, 1e-7]]), logits_of([[1 - 1e-7, 1 - 1e-7]])])
    assert DiceLoss()(logits, target).item() == pytest.approx(0.5, abs=1e-3)
    assert DiceLoss(batch=True)(logits, target).item() == pytest.approx(1 - 4 / 4.5, abs=1e-3)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("include_background", [False, True])
@pytest.mark.parametrize("spatial", [(9, 8), (6, 5, 4)], ids=str)
def test_it_equals_monai(batch: bool, include_background: bool, spatial: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 4, *spatial)
    target = torch.randint(0, 4, (3, 1, *spatial))
    oracle = MonaiDiceLoss(
        include_background=include_background,
        to_onehot_y=True,
        softmax=True,
        batch=batch,
        smooth_nr=0.1,
        smooth_dr=0.1,
    )
    ours = DiceLoss(include_background=include_background, batch=batch, smooth=0.1)
    torch.testing.assert_close(ours(logits, target), oracle(logits, target))


def test_smoothing_must_be_positive() -> None:
    with pytest.raises(ConfigError, match=r"expected a positive smooth \(in voxels\), got 0"):
        DiceLoss(smooth=0)
