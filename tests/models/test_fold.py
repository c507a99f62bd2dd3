from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from medconv.attention import ChannelAttention
from medconv.blocks import ResidualBlock
from medconv.models import UNet, fold
from medconv.ops import ConvOp, GradientWeightedConv, StandardConv, SymmetricConv


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, partial(SymmetricConv, basis="ring")])
def test_a_folded_network_is_plain_and_gives_the_same(dims: int, conv: type[ConvOp]) -> None:
    torch.manual_seed(0)
    net = UNet(dims, 1, 2, channels=(2, 4), conv=conv, block=ResidualBlock, attention=ChannelAttention)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    plain = fold(net.eval())
    assert not any(isinstance(m, ConvOp) for m in plain.modules())
    x = torch.randn(2, 1, *(8, 12, 8)[:dims])
    assert float((plain(x) - net(x)).abs().max()) <= 1e-5
    if conv is StandardConv:
        assert torch.equal(plain(x), net(x))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert any(isinstance(m, ConvOp) for m in net.modules())


@torch.no_grad()
def test_operators_that_depend_on_their_input_stay_and_keep_their_guide() -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(2, 4), conv=[GradientWeightedConv, SymmetricConv]).eval()
    for module in net.modules():
        if isinstance(module, GradientWeightedConv):
            nn.init.constant_(module.rho_alpha, 0.5)
    plain = fold(net)
    assert {type(m) for m in plain.modules() if isinstance(m, ConvOp)} == {GradientWeightedConv}
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(plain(x), net(x), atol=1e-5, rtol=0)


def test_folding_keeps_the_mode_and_every_flag() -> None:
    net = UNet(2, 1, 2, channels=(2, 4, 4), deep_supervision=True)
    assert fold(net).training
    assert isinstance(fold(net)(torch.zeros(1, 1, 8, 8)), list)
    assert not fold(net.eval()).training


def test_a_single_operator_folds_and_a_guided_one_does_not() -> None:
    assert type(fold(SymmetricConv(2, 1, 1))) is nn.Conv2d
    assert type(fold(GradientWeightedConv(2, 1, 1))) is GradientWeightedConv


def test_folding_twice_changes_nothing_more_and_the_result_pickles() -> None:
    plain = fold(UNet(2, 1, 2, channels=(2, 4), conv=SymmetricConv)).eval()
    again = pickle.loads(pickle.dumps(fold(plain)))
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(again(x), plain(x))


def test_an_operator_made_of_operators_folds_as_a_whole() -> None:
    class _Sum(ConvOp):
        def __init__(self) -> None:
            super().__init__(2, 1, 1, bias=False)
            parts = StandardConv(2, 1, 1, bias=False), SymmetricConv(2, 1, 1, bias=False)
            self.parts = nn.ModuleList(parts)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.parts[0](x) + self.parts[1](x)

        def dense_weight(self) -> torch.Tensor:
            return self.parts[0].dense_weight() + self.parts[1].dense_weight()

    net = nn.Sequential(_Sum())
    x = torch.randn(1, 1, 6, 6)
    plain = fold(net)
    assert [type(m) for m in plain] == [nn.Conv2d]
    torch.testing.assert_close(plain(x), net(x))
