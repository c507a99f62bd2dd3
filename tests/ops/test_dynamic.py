from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.errors import ConfigError
from medconv.ops import DynamicConv, StandardConv, check_conv

CONV = {2: F.conv2d, 3: F.conv3d}
ALL = ["inputs", "outputs", "taps"]


def awake(dims: int, **character: object) -> DynamicConv:
    """An operator whose controller has left its start."""
    torch.manual_seed(0)
    conv = DynamicConv(dims, 4, 6, **character).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return conv.eval()


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("gates", [[], ["taps"], ALL], ids=str)
def test_every_image_meets_its_own_kernel(dims: int, groups: int, gates: list[str]) -> None:
    conv = awake(dims, groups=groups, gates=gates, stride=2)
    conv.temperature.fill_(3.0)
    x = 2 * torch.randn(3, 4, *(7, 6, 5)[:dims], dtype=torch.float64)
    y = conv(x)
    for n in range(3):
        mean = x[n].flatten(1).mean(1)
        z = conv.excite(torch.relu(conv.squeeze(mean)))
        shares = torch.exp(z[:4] / 3.0) / torch.exp(z[:4] / 3.0).sum()
        kernel = sum(shares[e] * conv.weight[e] for e in range(4))
        start = 4
        for gate in gates:
            length = {"inputs": 4 // groups, "outputs": 6, "taps": 3**dims}[gate]
            factor, start = 2 / (1 + torch.exp(-z[start : start + length])), start + length
            subscripts = {"inputs": "oi...,i->oi...", "outputs": "oi...,o->oi..."}
            if gate == "taps":
                kernel = kernel * factor.reshape([3] * dims)
            else:
                kernel = torch.einsum(subscripts[gate], kernel, factor)
        expected = CONV[dims](x[n : n + 1], kernel, conv.bias, stride=2, padding=1, groups=groups)
        torch.testing.assert_close(y[n : n + 1], expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_equal_experts_are_a_static_convolution(dims: int) -> None:
    conv = awake(dims)
    with torch.no_grad():
        conv.weight.copy_(conv.weight[:1].expand_as(conv.weight))
    x = 3 * torch.randn(2, 4, *[6] * dims, dtype=torch.float64)
    assert conv.mixture(x).std(dim=1).min() > 0.01, "the experts do not count alike"
    expected = CONV[dims](x, conv.weight[0], conv.bias, padding=1)
    torch.testing.assert_close(conv(x), expected, atol=1e-12, rtol=1e-12)


def test_one_expert_without_gates_is_bitwise_plain() -> None:
    torch.manual_seed(0)
    plain = StandardConv(3, 2, 4)
    torch.manual_seed(0)
    conv = DynamicConv(3, 2, 4, experts=1)
    x = torch.randn(2, 2, 5, 5, 5)
    assert torch.equal(conv(x), plain(x))
    assert type(conv.fold()) is nn.Conv3d
    assert not DynamicConv(3, 2, 4, experts=1, gates=["taps"]).is_foldable


def test_at_the_start_all_experts_count_alike() -> None:
    conv = DynamicConv(2, 4, 8, experts=3, gates=ALL)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(conv.mixture(x), torch.full((2, 3), 1 / 3))
    torch.testing.assert_close(conv.kernels(x), conv.weight.mean(0).expand(2, -1, -1, -1, -1))


def test_temperature_flattens_the_mixture_and_is_saved() -> None:
    conv = awake(2)
    x = 3 * torch.randn(1, 4, 6, 6, dtype=torch.float64)
    cold = conv.mixture(x).max()
    conv.temperature.fill_(30.0)
    assert conv.mixture(x).max() < cold
    other = DynamicConv(2, 4, 6).double()
    other.load_state_dict(conv.state_dict())
    assert other.temperature == 30


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_weights_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, *[12] * dims)
    y = DynamicConv(dims, 32, 64, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_gates_pass_the_examination() -> None:
    check_conv(partial(DynamicConv, gates=ALL, experts=2), dims=(2,), backend=None)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected experts from 1 to 64, got 0"):
        DynamicConv(2, 1, 1, experts=0)
    with pytest.raises(
        ConfigError, match=r"gates among 'inputs', 'outputs' and 'taps', each once, got \['x'\]"
    ):
        DynamicConv(2, 1, 1, gates=["x"])  # type: ignore[list-item]
    with pytest.raises(ConfigError, match="expected a reduction of at least 1, got 0"):
        DynamicConv(2, 1, 1, reduction=0)
