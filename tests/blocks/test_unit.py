from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from medconv.attention import ChannelAttention
from medconv.blocks import ConvUnit, PlainBlock, ResidualBlock
from medconv.errors import ConfigError, UnknownNameError
from medconv.ops import GradientWeightedConv, StandardConv, SymmetricConv


def test_order_is_conv_norm_activation_attention_dropout() -> None:
    torch.manual_seed(0)
    unit = ConvUnit(2, 2, 4, conv=StandardConv, attention=ChannelAttention, activation="relu", dropout=0.5)
    nn.init.normal_(unit.norm.weight)
    for parameter in unit.attention.parameters():
        nn.init.normal_(parameter)
    unit.eval()
    x = torch.randn(3, 2, 7, 6)
    expected = unit.attention(torch.relu(unit.norm(unit.conv(x))))
    assert torch.equal(unit(x), expected)
    dropped = unit.train()(x)
    channels_left = dropped.flatten(2).abs().sum(-1) > 0
    assert 0 < channels_left.sum() < channels_left.numel()
    kept = channels_left[..., None, None].expand_as(dropped)
    torch.testing.assert_close(dropped[kept], 2 * expected[kept])


@pytest.mark.parametrize("activation", ["none", None])
@pytest.mark.parametrize("make", [ConvUnit, PlainBlock, ResidualBlock])
def test_attention_directly_after_instance_norm_is_refused(make: type, activation: str | None) -> None:
    with pytest.raises(ConfigError, match=r"GAP\(IN\(x\)\), is constant"):
        make(2, 1, 4, conv=StandardConv, attention=ChannelAttention, norm="instance", activation=activation)


def test_the_refused_attention_would_indeed_see_a_constant() -> None:
    norm = nn.InstanceNorm2d(3, affine=True)
    nn.init.normal_(norm.bias)
    means = norm(torch.randn(5, 3, 16, 16) * 7 + 2).mean((2, 3))
    torch.testing.assert_close(means, norm.bias.detach().expand(5, 3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_attention_without_a_nonlinearity_is_allowed_after_other_norms(norm: str) -> None:
    unit = ConvUnit(2, 1, 4, conv=StandardConv, attention=ChannelAttention, norm=norm, activation="none")
    assert unit(torch.randn(2, 1, 5, 5)).shape == (2, 4, 5, 5)


BIASES = {"instance": False, "batch": False, "group": True, "none": True}


@pytest.mark.parametrize(("norm", "has_bias"), BIASES.items())
def test_a_bias_exists_where_the_norm_would_not_cancel_it(norm: str, has_bias: bool) -> None:
    unit = ConvUnit(2, 1, 4, conv=StandardConv, norm=norm)
    assert (unit.conv.bias is not None) == has_bias
    assert unit.conv.bias is None or not unit.conv.bias.detach().any()


def test_a_constant_before_instance_and_batch_norm_has_no_effect_but_before_group_norm_it_has() -> None:
    x = torch.randn(2, 8, 6, 6)
    shift = torch.randn(1, 8, 1, 1)
    effect = {}
    for name in ("instance", "batch", "group"):
        norm = ConvUnit(2, 1, 8, conv=StandardConv, norm=name).norm
        effect[name] = float((norm(x + shift) - norm(x)).abs().max().detach())
    assert effect["instance"] < 1e-5
    assert effect["batch"] < 1e-5
    assert effect["group"] > 0.1


@pytest.mark.parametrize("conv", [GradientWeightedConv, partial(GradientWeightedConv, border="partial")])
def test_the_guide_reaches_a_convolution_that_needs_it(conv: object) -> None:
    torch.manual_seed(0)
    unit = ConvUnit(2, 1, 3, conv=conv, norm="none", activation="none")  # type: ignore[arg-type]
    nn.init.constant_(unit.conv.rho_alpha, 1.0)
    x, guide = torch.randn(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    assert torch.equal(unit(x, guide), unit.conv(x, guide))
    assert not torch.allclose(unit(x, guide), unit(x, 5 * guide))


def test_a_plain_convolution_in_the_unit_ignores_the_guide() -> None:
    unit = ConvUnit(2, 1, 3, conv=StandardConv)
    x = torch.randn(1, 1, 8, 8)
    expected = unit(x)
    unit.conv = unit.conv.fold()
    assert torch.equal(unit(x, torch.rand(1, 1, 8, 8)), expected)


@pytest.mark.parametrize("norm", ["instance", "batch", "group", "none"])
def test_gradients_pass_through_the_in_place_nonlinearity(norm: str) -> None:
    torch.manual_seed(0)
    for activation in ("leaky_relu", "relu", "elu", "silu", "gelu"):
        unit = ConvUnit(2, 1, 2, conv=StandardConv, norm=norm, activation=activation).double()
        x = torch.randn(2, 1, 3, 3, dtype=torch.double, requires_grad=True)
        # fast: one direction each way instead of one element at a time; an overwritten value shows in any
        assert torch.autograd.gradcheck(unit, (x,), fast_mode=True)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_an_impossible_dropout_is_refused(dropout: float) -> None:
    with pytest.raises(ConfigError, match="expected dropout from 0 up to, not including, 1"):
        ConvUnit(2, 1, 1, conv=StandardConv, dropout=dropout)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no norm 'instanc'; did you mean 'instance'"):
        ConvUnit(2, 1, 1, conv=StandardConv, norm="instanc")
    with pytest.raises(UnknownNameError, match="no activation 'leakyrelu'; did you mean 'leaky_relu'"):
        ConvUnit(2, 1, 1, conv=StandardConv, activation="leakyrelu")


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 8, 16, 30, 64])
def test_group_norm_never_degenerates_to_instance_norm(channels: int) -> None:
    norm = ConvUnit(2, 1, channels, conv=StandardConv, norm="group").norm
    assert channels % norm.num_groups == 0
    assert norm.num_groups <= 8
    assert norm.num_groups == 1 or channels // norm.num_groups >= 2


def test_spacing_reaches_the_operator() -> None:
    unit = ConvUnit(3, 1, 2, conv=SymmetricConv, spacing_mm=(3.0, 1.0, 1.0))
    assert unit.conv.spacing_mm == (3.0, 1.0, 1.0)
    assert unit.conv.group.name == "D4h"
