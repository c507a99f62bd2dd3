from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from medconv.errors import ConfigError, ShapeError
from medconv.losses import CrossEntropyLoss


def test_hand_made_case_of_two_pixels() -> None:
    # probability of the true class: 1/2 and 1/4
    logits = torch.tensor([[[[0.5, 0.75]], [[0.5, 0.25]]]]).log()
    target = torch.tensor([[[[0, 1]]]])
    log2 = torch.tensor(2.0).log().item()
    assert CrossEntropyLoss()(logits, target).item() == pytest.approx(1.5 * log2)
    weighted = CrossEntropyLoss(class_weights=[1, 3])(logits, target).item()
    assert weighted == pytest.approx((1 * log2 + 3 * 2 * log2) / 4)


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0, 0.0]], ids=["alike", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("spatial", [(9, 8), (6, 5, 4)], ids=str)
def test_it_equals_torch(weights: list[float] | None, smoothing: float, spatial: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    logits = torch.randn(3, 4, *spatial)
    target = torch.randint(0, 4, (3, 1, *spatial))
    ours = CrossEntropyLoss(class_weights=weights, label_smoothing=smoothing)(logits, target)
    weight = None if weights is None else torch.tensor(weights)
    oracle = cross_entropy(logits, target[:, 0], weight=weight, label_smoothing=smoothing)
    torch.testing.assert_close(ours, oracle)


def test_settings_that_cannot_be_meant_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"expected label_smoothing from 0 to below 1, got 1\.0"):
        CrossEntropyLoss(label_smoothing=1.0)
    with pytest.raises(ConfigError, match="not negative and not all 0"):
        CrossEntropyLoss(class_weights=[0.0, 0.0])
    with pytest.raises(ConfigError, match=r"not all 0, got \[\]"):
        CrossEntropyLoss(class_weights=[])
    with pytest.raises(ShapeError, match=r"expected 2 class_weights .* got 3"):
        CrossEntropyLoss(class_weights=[1, 2, 3])(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4).long())
