from __future__ import annotations

import pytest
import torch

from medconv.errors import ConfigError
from medconv.ops import ThresholdSparseConv


@pytest.mark.parametrize("channels", [4, 64])
def test_the_same_threshold_means_the_same_at_every_width(channels: int) -> None:
    torch.manual_seed(0)
    conv = ThresholdSparseConv(3, channels, 64, threshold=1.0)
    zeros = (conv.dense_weight() == 0).double().mean().item()
    assert zeros == pytest.approx(0.683, abs=0.02)  # normal weights within one standard deviation


def test_small_weights_are_left_out_and_not_overwritten() -> None:
    torch.manual_seed(0)
    conv = ThresholdSparseConv(2, 4, 4, threshold=0.8)
    before, version = conv.weight.clone(), conv.weight._version
    conv(torch.randn(1, 4, 6, 6)).square().mean().backward()
    assert torch.equal(conv.weight, before)
    assert conv.weight._version == version
    small = conv.weight.abs() <= conv.least
    assert 0 < int(small.sum()) < small.numel()
    assert torch.equal(conv.dense_weight() == 0, small)
    assert (conv.weight.grad[small] == 0).all()


def test_a_negative_threshold_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a threshold of at least 0, got -1"):
        ThresholdSparseConv(2, 1, 1, threshold=-1)
