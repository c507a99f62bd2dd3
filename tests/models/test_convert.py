from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from medconv.errors import ConfigError
from medconv.models import MonaiDynUNet, UNet, convert, describe
from medconv.ops import GradientWeightedConv, StandardConv, SymmetricConv, act, full_group


def kernels(net: nn.Module, kind: type) -> dict[str, torch.Tensor]:
    return {name: m.dense_weight() for name, m in net.named_modules() if isinstance(m, kind)}


def test_every_kernel_becomes_its_average_over_the_group() -> None:
    net = UNet(2, 1, 2, channels=(4, 8), norm="none").double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    new = convert(net)
    dense, tied = kernels(net, StandardConv), kernels(new, SymmetricConv)
    assert dense.keys() == tied.keys()
    for name, weight in dense.items():
        mean = torch.stack([act(weight, g) for g in full_group(2)]).mean(dim=0)
        torch.testing.assert_close(tied[name], mean, atol=1e-14, rtol=0)
        assert torch.equal(new.get_submodule(name).bias, net.get_submodule(name).bias)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not new.training
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    for g in full_group(2):
        torch.testing.assert_close(new(act(x, g)), act(new(x), g), atol=1e-12, rtol=0)


def test_what_is_symmetric_already_stays_as_it_is() -> None:
    net = UNet(2, 1, 2, channels=(4, 8), conv=SymmetricConv).eval()
    x = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(convert(net)(x), net(x), atol=1e-5, rtol=1e-5)


def test_voxel_size_and_foreign_networks_are_respected() -> None:
    thick = convert(UNet(3, 1, 2, channels=(2, 4), spacing_mm=(3.0, 1.0, 1.0)))
    assert describe(thick, (8, 8, 8)).symmetry.name == "D4h"
    monai = convert(MonaiDynUNet(2, 1, 2, channels=(4, 8, 16)), partial(SymmetricConv, group="C4"))
    assert {m.group.name for m in monai.modules() if isinstance(m, SymmetricConv)} == {"C4"}
    assert monai(torch.randn(1, 1, 16, 16)).shape == (1, 2, 16, 16)


def test_refuses_what_cannot_be_converted() -> None:
    with pytest.raises(
        ConfigError, match=r"takes a plain kernel over \(load_dense\), got GradientWeightedConv"
    ):
        convert(UNet(2, 1, 2, channels=(2, 4)), GradientWeightedConv)
    with pytest.raises(
        ConfigError, match="expected a network with plain convolutions, Linear has none to convert"
    ):
        convert(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match=r"expected padding \(1, 1\) with zeros, got \(0, 0\)"):
        convert(nn.Sequential(nn.Conv2d(1, 1, 3)))
