from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from medconv.attention import SelfAttention
from medconv.errors import ConfigError, ShapeError


def awake(*args: Any, **kwargs: Any) -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(*args, **kwargs).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def by_the_definition(layer: SelfAttention, x: torch.Tensor) -> torch.Tensor:
    """Softmax over all voxels, written out case by case and head by head."""
    y = x.clone()
    for n, case in enumerate(x.flatten(2)):
        tokens = case.T
        centred = tokens - tokens.mean(dim=1, keepdim=True)
        normed = centred / (centred.square().mean(dim=1, keepdim=True) + layer.norm.eps).sqrt()
        normed = normed * layer.norm.weight + layer.norm.bias
        projected = normed @ layer.project_in.weight.T + layer.project_in.bias
        width = x.shape[1] // layer.heads
        mixed = []
        for h in range(layer.heads):
            q, k, v = (
                projected[:, i * x.shape[1] + h * width : i * x.shape[1] + (h + 1) * width] for i in range(3)
            )
            scores = (q @ k.T / width**0.5).exp()
            mixed.append(scores / scores.sum(dim=1, keepdim=True) @ v)
        out = torch.cat(mixed, dim=1) @ layer.project_out.weight.T + layer.project_out.bias
        y[n] += out.T.reshape(x.shape[1:])
    return y


@pytest.mark.parametrize(("channels", "heads"), [(6, 1), (6, 3), (16, None)])
@pytest.mark.parametrize("dims", [2, 3])
def test_is_the_softmax_written_out(dims: int, channels: int, heads: int | None) -> None:
    layer = awake(dims, channels, heads=heads)
    x = torch.randn(2, channels, *(4, 3, 2)[:dims], dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_the_definition(layer, x), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("channels", "heads"), [(320, 5), (256, 4), (96, 3), (48, 3), (24, 3), (8, 1), (12, 1), (1, 1)]
)
def test_heads_have_a_width_that_fused_kernels_take_where_there_is_one(channels: int, heads: int) -> None:
    layer = SelfAttention(3, channels)
    assert layer.heads == heads
    assert channels % heads == 0


def test_too_many_voxels_are_refused_before_anything_is_computed() -> None:
    layer = SelfAttention(3, 8)
    with pytest.raises(
        ShapeError,
        match=r"expected at most 8192 voxels, got 32768 from \(32, 32, 32\); put it at a coarser stage only, "
        r"or raise max_tokens",
    ):
        layer(torch.empty(1, 8, 32, 32, 32))
    assert SelfAttention(2, 8, max_tokens=16)(torch.zeros(1, 8, 4, 4)).shape == (1, 8, 4, 4)
    with pytest.raises(ShapeError, match="at most 16 voxels, got 20"):
        SelfAttention(2, 8, max_tokens=16)(torch.zeros(1, 8, 4, 5))


def test_refuses_heads_that_do_not_divide() -> None:
    with pytest.raises(ConfigError, match="expected heads that divide 8 channels, got 3"):
        SelfAttention(2, 8, heads=3)
    with pytest.raises(ConfigError, match="expected max_tokens from 1, got 0"):
        SelfAttention(2, 8, max_tokens=0)
    assert "8, heads=2" in repr(SelfAttention(2, 8, heads=2))
