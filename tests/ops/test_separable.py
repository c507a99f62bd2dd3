from __future__ import annotations

from functools import partial
from math import prod

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.errors import ConfigError
from medconv.models import UNet, fold
from medconv.ops import SeparableConv, check_conv

CONV = {2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("dims", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize(("groups", "multiplier"), [(1, 1), (1, 3), (2, 2), (4, 2)])
def test_its_kernel_is_the_product_of_both_steps(dims: int, groups: int, multiplier: int) -> None:
    torch.manual_seed(0)
    conv = SeparableConv(dims, 4, 8, 5, groups=groups, multiplier=multiplier).double()
    per_group = 4 // groups
    oracle = torch.zeros(8, per_group, *[5] * dims, dtype=torch.float64)
    for o in range(8):
        for i in range(per_group):
            channel = o // (8 // groups) * per_group + i
            for m in range(multiplier):
                point = conv.point_weight[o, i * multiplier + m].squeeze()
                oracle[o, i] += (point * conv.depth_weight[channel * multiplier + m, 0]).detach()
    torch.testing.assert_close(conv.dense_weight(), oracle, atol=1e-14, rtol=0)
    x = torch.randn(2, 4, *(7, 6, 5)[:dims], dtype=torch.float64)
    expected = CONV[dims](x, oracle, conv.bias, padding=2, groups=groups)
    torch.testing.assert_close(conv(x), expected, atol=1e-12, rtol=0)
    check_conv(partial(SeparableConv, multiplier=multiplier), dims=(dims,), backend=None)


@pytest.mark.parametrize("dims", [2, 3])
def test_its_rank_is_the_multiplier(dims: int) -> None:
    for multiplier in (1, 2):
        conv = SeparableConv(dims, 1, 8, multiplier=multiplier).double()
        assert torch.linalg.matrix_rank(conv.dense_weight().flatten(1)) == multiplier


def test_with_kernel_one_and_ones_in_depth_it_is_a_pointwise_convolution() -> None:
    conv = SeparableConv(3, 4, 6, 1)
    nn.init.ones_(conv.depth_weight)
    x = torch.randn(1, 4, 3, 4, 5)
    assert torch.equal(conv(x), F.conv3d(x, conv.point_weight, conv.bias))


@pytest.mark.parametrize("dims", [2, 3])
def test_parameters_and_multiply_adds_follow_the_formula(dims: int) -> None:
    conv = SeparableConv(dims, 16, 32, multiplier=2)
    taps = 3**dims
    assert sum(p.numel() for p in conv.parameters()) == 16 * taps * 2 + 16 * 2 * 32 + 32
    size = (4, 5, 6)[:dims]
    assert conv.macs(size) == prod(size) * (16 * taps * 2 + 16 * 2 * 32)


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_weights_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, *[12] * dims)
    y = SeparableConv(dims, 64, 64, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_a_network_is_not_folded_into_a_dearer_one() -> None:
    net = UNet(2, 1, 2, channels=(4, 8), conv=SeparableConv)
    assert any(isinstance(m, SeparableConv) for m in fold(net).modules())
    assert type(SeparableConv(2, 4, 4).fold()) is nn.Conv2d


def test_a_multiplier_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiplier of at least 1 kernel a channel, got 0"):
        SeparableConv(2, 4, 4, multiplier=0)
    with pytest.raises(ConfigError, match="odd kernel_size, or an even one"):
        SeparableConv(2, 4, 4, 4)
