from __future__ import annotations

import pytest
import torch
from monai.losses import DiceCELoss

from medconv.errors import ConfigError
from medconv.losses import CrossEntropyLoss, DiceCrossEntropyLoss, DiceLoss


def draw(spatial: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(2, 3, *spatial), torch.randint(0, 3, (2, 1, *spatial))


def test_it_is_the_weighted_sum_of_its_parts() -> None:
    logits, target = draw((6, 7))
    loss = DiceCrossEntropyLoss(
        dice_weight=0.5,
        cross_entropy_weight=2.0,
        batch_dice=True,
        include_background=True,
        smooth=0.3,
        class_weights=[1, 2, 3],
        label_smoothing=0.1,
    )
    dice = DiceLoss(batch=True, include_background=True, smooth=0.3)
    cross_entropy = CrossEntropyLoss(class_weights=[1, 2, 3], label_smoothing=0.1)
    expected = 0.5 * dice(logits, target) + 2.0 * cross_entropy(logits, target)
    torch.testing.assert_close(loss(logits, target), expected)


@pytest.mark.parametrize("spatial", [(9, 8), (6, 5, 4)], ids=str)
def test_value_and_gradient_equal_monai(spatial: tuple[int, ...]) -> None:
    logits, target = draw(spatial)
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    ours = DiceCrossEntropyLoss()(a, target)
    oracle = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True)(b, target)
    ours.backward()
    oracle.backward()
    torch.testing.assert_close(ours, oracle)
    torch.testing.assert_close(a.grad, b.grad)


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="not both 0, got 0 and 0"):
        DiceCrossEntropyLoss(dice_weight=0, cross_entropy_weight=0)
    with pytest.raises(ConfigError, match="not negative"):
        DiceCrossEntropyLoss(dice_weight=-1, cross_entropy_weight=2)
