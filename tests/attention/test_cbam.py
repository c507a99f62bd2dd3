from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.attention import CBAM, ChannelAttention
from medconv.errors import ConfigError


@pytest.mark.parametrize(("dims", "kernel"), [(2, 7), (3, 3)])
def test_is_the_published_sequence(dims: int, kernel: int) -> None:
    torch.manual_seed(0)
    layer = CBAM(dims, 8, reduction=2, kernel_size=kernel, gate="sigmoid").double()
    x = torch.randn(2, 8, *(9, 8, 7)[:dims], dtype=torch.float64)
    first, second = layer.channel.excite.hidden, layer.channel.excite.last

    def shared(values: torch.Tensor) -> torch.Tensor:
        hidden = (values @ first.weight.T + first.bias).clamp(min=0)
        return hidden @ second.weight.T + second.bias

    flat = x.flatten(2)
    channel = torch.sigmoid(shared(flat.mean(dim=2)) + shared(flat.max(dim=2).values))
    y = x * channel.reshape(2, 8, *[1] * dims)
    seen = torch.stack([y.max(dim=1).values, y.mean(dim=1)], dim=1)
    conv = layer.spatial.conv
    place = torch.sigmoid({2: F.conv2d, 3: F.conv3d}[dims](seen, conv.weight, conv.bias, padding=kernel // 2))
    torch.testing.assert_close(layer(x), y * place, atol=1e-12, rtol=0)


def test_maxima_reach_the_channel_gate() -> None:
    layer = ChannelAttention(2, 4, squeeze="mean_max").double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    flat = torch.ones(1, 4, 4, 4, dtype=torch.float64)
    peaked = flat.clone()
    peaked[..., 0, 0], peaked[..., 0, 1] = 2, 0  # the same mean, another maximum
    assert not torch.allclose(layer.gates(flat), layer.gates(peaked), atol=1e-3)
    mean_only = ChannelAttention(2, 4).double()
    mean_only.load_state_dict(layer.state_dict())
    torch.testing.assert_close(mean_only.gates(flat), mean_only.gates(peaked))


def test_refuses_unknown_settings() -> None:
    with pytest.raises(ConfigError, match="expected squeeze 'mean' or 'mean_max', got 'max'"):
        ChannelAttention(2, 4, squeeze="max")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="reduction from 1, got 'centred', 0"):
        CBAM(2, 4, reduction=0)
