from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from medconv.blocks import PlainBlock, ResidualBlock
from medconv.models import SegmentationModel, UNet, describe, remove_channels
from medconv.ops import GradientWeightedConv, SparseConv

CHANNELS = partial(SparseConv, pattern="channels", sparsity=0.5, dense_below=1)


def network(dims: int, **settings: object) -> SegmentationModel:
    torch.manual_seed(0)
    options = {"channels": (4, 8), "conv": CHANNELS} | settings
    return UNet(dims, 1, 2, **options).eval()  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("block", [PlainBlock, partial(ResidualBlock, depth=3)], ids=["plain", "residual"])
def test_the_network_shrinks_and_answers_the_same(dims: int, norm: str, block: type) -> None:
    net = network(dims, norm=norm, block=block)
    x = torch.randn(2, 1, *(8, 12, 8)[:dims])
    before = net(x)
    small = remove_channels(net)
    torch.testing.assert_close(small(x), before, atol=1e-5, rtol=1e-4)
    assert torch.equal(net(x), before), "the network itself is unchanged"
    full, less = (describe(m, x.shape[2:]) for m in (net, small))
    assert less.parameters < 0.75 * full.parameters
    assert less.macs < 0.75 * full.macs
    assert torch.equal(pickle.loads(pickle.dumps(small))(x), small(x))


@torch.no_grad()
def test_a_constant_channel_moves_into_the_next_bias() -> None:
    torch.manual_seed(0)
    block = PlainBlock(2, 2, 4, conv=CHANNELS, norm="batch").double().eval()
    nn.init.normal_(block.units[0].norm.bias)
    nn.init.normal_(block.units[0].norm.running_mean)
    small = remove_channels(nn.Sequential(block))
    x = torch.randn(1, 2, 9, 9, dtype=torch.float64)
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(small(x)[inside], block(x)[inside], atol=1e-12, rtol=0)
    assert (small(x) - block(x)).abs().max() > 1e-3, "at the border the padding differs"
    assert small[0].units[0].norm.running_mean.shape == (2,)


@torch.no_grad()
@pytest.mark.parametrize(
    "settings",
    [{"norm": "group"}, {"conv": partial(SparseConv, sparsity=0.5)}, {"conv": GradientWeightedConv}],
    ids=["group norm", "no zero channel", "not foldable"],
)
def test_what_cannot_shrink_stays_as_it_is(settings: dict[str, object]) -> None:
    net = network(2, **settings)
    small = remove_channels(net)
    assert [type(m) for m in small.modules()] == [type(m) for m in net.modules()]


@torch.no_grad()
def test_one_channel_is_left_where_all_are_zero() -> None:
    net = network(2)
    nn.init.zeros_(net.encoder.blocks[0].units[0].conv.weight)
    small = remove_channels(net)
    assert small.encoder.blocks[0].units[0].conv.out_channels == 1
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(small(x), net(x), atol=1e-5, rtol=1e-4)
