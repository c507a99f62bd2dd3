from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.attention import ChannelAttention
from medconv.blocks import Block, PlainBlock, ResidualBlock
from medconv.catalogue import catalogue
from medconv.errors import ConfigError
from medconv.ops import GradientWeightedConv, StandardConv, SymmetricConv, act, full_group

BLOCKS = [PlainBlock, ResidualBlock]


@pytest.mark.parametrize("name", sorted(catalogue(Block)))
@pytest.mark.parametrize("dims", [2, 3])
def test_every_block_keeps_the_contract(name: str, dims: int) -> None:
    block = catalogue(Block)[name](
        dims,
        2,
        4,
        3,
        conv=GradientWeightedConv,
        attention=ChannelAttention,
        stride=2,
        spacing_mm=(1.0,) * dims,
    )
    size = (9, 8, 7)[:dims]
    x, guide = torch.randn(1, 2, *size), torch.rand(1, 1, *size)
    expected = tuple(-(-n // 2) for n in size)
    assert block(x, guide).shape == (1, 4, *expected)
    assert len(block.state_dict()) == len([*block.parameters(), *block.buffers()])
    torch.manual_seed(0)
    copy = pickle.loads(pickle.dumps(block))
    assert torch.equal(copy(x, guide), block(x, guide))


@pytest.mark.parametrize("make", BLOCKS)
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_depth_counts_the_convolutions(make: type, depth: int) -> None:
    block = make(2, 3, 5, conv=StandardConv, depth=depth)
    convs = [m for m in block.modules() if isinstance(m, StandardConv)]
    assert [(c.in_channels, c.out_channels) for c in convs] == [(3, 5)] + [(5, 5)] * (depth - 1)


@pytest.mark.parametrize("make", BLOCKS)
@pytest.mark.parametrize("depth", [0, -1, 33])
def test_an_impossible_depth_is_refused(make: type, depth: int) -> None:
    with pytest.raises(ConfigError, match="expected depth from 1 to 32"):
        make(2, 1, 1, conv=StandardConv, depth=depth)


@pytest.mark.parametrize("make", BLOCKS)
def test_after_a_stride_operators_know_the_coarser_spacing(make: type) -> None:
    block = make(3, 1, 2, conv=StandardConv, stride=(1, 2, 2), spacing_mm=(3.0, 1.0, 1.0), depth=3)
    spacings = [m.spacing_mm for m in block.modules() if isinstance(m, StandardConv)]
    assert spacings == [(3.0, 1.0, 1.0), (3.0, 2.0, 2.0), (3.0, 2.0, 2.0)]


@pytest.mark.parametrize("make", BLOCKS)
def test_after_a_stride_the_guide_is_the_average(make: type) -> None:
    torch.manual_seed(0)
    block = make(2, 1, 2, conv=GradientWeightedConv, stride=2)
    for unit in block.units:
        nn.init.constant_(unit.conv.rho_alpha, 1.0)
    x, guide = torch.randn(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    y = block.units[0](x, guide)
    y = block.units[1](y, F.avg_pool2d(guide, 2))
    expected = y if make is PlainBlock else F.leaky_relu(y + block.shortcut(x))
    assert torch.equal(block(x, guide), expected)


def test_plain_block_is_its_units_in_turn_with_attention_last() -> None:
    block = PlainBlock(2, 1, 4, conv=StandardConv, attention=ChannelAttention, depth=3)
    assert [isinstance(unit.attention, ChannelAttention) for unit in block.units] == [False, False, True]
    x = torch.randn(1, 1, 6, 6)
    assert torch.equal(block(x), block.units[2](block.units[1](block.units[0](x))))


def test_residual_block_with_silent_units_is_the_activation_of_its_input() -> None:
    block = ResidualBlock(2, 4, 4, conv=StandardConv, norm="instance", activation="relu")
    nn.init.zeros_(block.units[-1].norm.weight)
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(block(x), torch.relu(x))


def test_residual_shortcut_has_weights_only_where_channels_change() -> None:
    same = ResidualBlock(2, 4, 4, conv=StandardConv, stride=2)
    other = ResidualBlock(2, 4, 6, conv=StandardConv)
    assert not list(same.shortcut.parameters())
    assert [tuple(p.shape) for p in other.shortcut.parameters()] == [(6, 4, 1, 1), (6,), (6,)]


def test_residual_attention_sees_the_sum_after_its_nonlinearity() -> None:
    block = ResidualBlock(2, 4, 4, conv=StandardConv, attention=ChannelAttention, activation="relu")
    nn.init.normal_(next(reversed(list(block.attention.parameters()))))
    x = torch.randn(2, 4, 6, 6)
    y = torch.relu(block.units[1](block.units[0](x)) + x)
    assert torch.equal(block(x), block.attention(y))
    assert not torch.allclose(block(x), y)


@pytest.mark.parametrize("make", BLOCKS)
def test_blocks_of_symmetric_operators_commute_with_the_square(make: type) -> None:
    block = make(2, 2, 4, conv=SymmetricConv, attention=ChannelAttention).double()
    x = torch.randn(1, 2, 8, 8, dtype=torch.double)
    for g in full_group(2):
        torch.testing.assert_close(block(act(x, g)), act(block(x), g), atol=1e-10, rtol=0)


@pytest.mark.parametrize("make", BLOCKS)
@pytest.mark.parametrize("depth", [2, 4])
def test_activations_keep_their_size_at_initialisation(make: type, depth: int) -> None:
    torch.manual_seed(0)
    block = make(2, 16, 32, conv=StandardConv, depth=depth)
    assert 0.3 < float(block(torch.randn(2, 16, 24, 24)).detach().std()) < 3
