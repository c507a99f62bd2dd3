from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.errors import ConfigError
from medconv.ops import CentralDifferenceConv, StandardConv, check_conv

CONV = {2: F.conv2d, 3: F.conv3d}


def double(dims: int, **character: object) -> CentralDifferenceConv:
    torch.manual_seed(0)
    conv = CentralDifferenceConv(dims, 3, 4, **character).double()  # type: ignore[arg-type]
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
    return conv


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("theta", [0.0, 0.3, 1.0])
def test_it_is_the_difference_of_two_convolutions_with_one_bias(dims: int, theta: float) -> None:
    conv = double(dims, theta=theta)
    x = torch.randn(2, 3, *(7, 6, 5)[:dims], dtype=torch.float64)
    sums = conv.weight.flatten(2).sum(-1).reshape(4, 3, *[1] * dims)
    oracle = CONV[dims](x, conv.weight, conv.bias, padding=1) - theta * CONV[dims](x, sums)
    torch.testing.assert_close(conv(x), oracle, atol=1e-12, rtol=0)
    torch.testing.assert_close(conv.fold()(x), oracle, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_theta_scales_the_answer_to_a_constant(dims: int) -> None:
    inside = (..., *[slice(1, -1)] * dims)
    x = torch.full((1, 3, *[5] * dims), 7.0, dtype=torch.float64)
    for theta in (0.25, 1.0):
        conv = double(dims, theta=theta, bias=False)
        plain = CONV[dims](x, conv.weight, padding=1)
        torch.testing.assert_close(conv(x)[inside], (1 - theta) * plain[inside], atol=1e-12, rtol=0)


def test_theta_of_zero_is_bitwise_plain() -> None:
    torch.manual_seed(0)
    plain = StandardConv(3, 2, 4)
    torch.manual_seed(0)
    conv = CentralDifferenceConv(3, 2, 4, theta=0.0)
    x = torch.randn(1, 2, 5, 5, 5)
    assert torch.equal(conv(x), plain(x))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("theta", [0.5, 0.7, 1.0])
def test_white_noise_keeps_its_strength(dims: int, theta: float) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, *[14] * dims)
    y = CentralDifferenceConv(dims, 32, 64, theta=theta, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_a_learned_theta_starts_where_told_and_moves() -> None:
    conv = CentralDifferenceConv(2, 1, 2, theta=0.3, learnable=True)
    assert conv.theta.item() == pytest.approx(0.3)
    conv(torch.randn(1, 1, 6, 6)).square().mean().backward()
    assert conv.rho_theta.grad.abs() > 0
    check_conv(partial(CentralDifferenceConv, learnable=True), dims=(2,), backend=None)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^expected theta from 0 to 1, got 1.2$"):
        CentralDifferenceConv(2, 1, 1, theta=1.2)
    with pytest.raises(
        ConfigError, match=r"expected theta strictly between 0 and 1 \(it is a sigmoid\), got 0"
    ):
        CentralDifferenceConv(2, 1, 1, theta=0.0, learnable=True)
    with pytest.raises(ConfigError, match=r"expected odd kernel sizes, which have a centre.*got \(2, 2\)"):
        CentralDifferenceConv(2, 1, 1, 2, stride=2)
    with pytest.raises(ConfigError, match="theta below 1 for a kernel of one voxel, got 1"):
        CentralDifferenceConv(3, 1, 1, 1, theta=1.0)


def test_prints_its_character() -> None:
    assert repr(CentralDifferenceConv(2, 1, 1)).endswith("kernel_size=(3, 3), theta=0.7)")
    assert repr(CentralDifferenceConv(2, 1, 1, learnable=True)).endswith("theta=learned)")
