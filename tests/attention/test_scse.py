from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.blocks import ChannelSELayer
from torch import nn

from medconv.attention import SCSE
from medconv.errors import ConfigError


@pytest.mark.parametrize("combine", ["max", "add"])
@pytest.mark.parametrize("dims", [2, 3])
def test_joins_the_channel_layer_of_monai_with_a_sum_over_channels(dims: int, combine: Any) -> None:
    layer = SCSE(dims, 8, reduction=2, combine=combine, gate="sigmoid")
    oracle = ChannelSELayer(dims, 8, r=2, acti_type_1=("relu", {"inplace": False}))
    layer.channel.excite.hidden.load_state_dict(oracle.fc[0].state_dict())
    layer.channel.excite.last.load_state_dict(oracle.fc[2].state_dict())
    x = torch.randn(2, 8, *(5, 4, 3)[:dims])
    spatial = layer.spatial.conv
    place = torch.sigmoid(torch.einsum("c,bc...->b...", spatial.weight.flatten(), x) + spatial.bias)
    by_place, by_channel = x * place[:, None], oracle(x)
    expected = torch.maximum(by_place, by_channel) if combine == "max" else by_place + by_channel
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)


def test_centred_sum_is_the_mean_of_the_two() -> None:
    layer = SCSE(2, 4, combine="add").double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    expected = (layer.channel(x) + layer.spatial(x)) / 2
    torch.testing.assert_close(layer(x), expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("combine", ["max", "add"])
def test_both_combinations_begin_as_the_identity(combine: Any) -> None:
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(SCSE(2, 4, combine=combine)(x), x)


def test_refuses_an_unknown_combination() -> None:
    with pytest.raises(ConfigError, match="expected combine 'max' or 'add', got 'mean'"):
        SCSE(2, 4, combine="mean")  # type: ignore[arg-type]
