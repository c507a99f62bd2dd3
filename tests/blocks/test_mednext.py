from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from medconv.attention import ChannelAttention
from medconv.blocks import MedNeXtBlock
from medconv.errors import ConfigError
from medconv.models import build_network, fold
from medconv.ops import (
    CentralDifferenceConv,
    ConvFactory,
    ConvOp,
    GradientWeightedConv,
    GroupConv,
    LargeKernelConv,
    LiftingConv,
    StandardConv,
    SymmetricConv,
    gradient_energy,
)

CONV = {2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("dims", [2, 3])
def test_it_is_depthwise_norm_expand_gelu_project_and_add(dims: int) -> None:
    torch.manual_seed(0)
    block = MedNeXtBlock(dims, 4, 4, 5, conv=LargeKernelConv, activation="gelu", expansion=3).double()
    (unit,) = block.units
    x = torch.randn(2, 4, *(9, 8, 7)[:dims], dtype=torch.float64)
    y = CONV[dims](x, unit.conv.dense_weight(), padding=2, groups=4)
    y = F.instance_norm(y, weight=unit.norm.weight, bias=unit.norm.bias)
    y = F.gelu(CONV[dims](y, unit.expand.weight, unit.expand.bias))
    y = CONV[dims](y, unit.project.weight, unit.project.bias) + x
    torch.testing.assert_close(block(x), y, atol=1e-10, rtol=1e-10)
    assert unit.expand.weight.shape[0] == 12


OTHERS = {
    "standard": StandardConv,
    "symmetric": SymmetricConv,
    "central difference": CentralDifferenceConv,
    "gradient of the image": GradientWeightedConv,
    "gradient of the features": partial(GradientWeightedConv, guide="feature"),
}


@pytest.mark.parametrize("conv", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("stride", [1, 2, (1, 2, 2)])
def test_it_takes_other_operators_and_strides(conv: ConvFactory, stride: int | tuple[int, ...]) -> None:
    block = MedNeXtBlock(3, 2, 6, conv=conv, stride=stride, depth=2, attention=ChannelAttention, dropout=0.1)
    guide = gradient_energy(torch.randn(2, 1, 5, 6, 8), (1.0, 1.0, 1.0))
    y = block(torch.randn(2, 2, 5, 6, 8), guide)
    steps = (stride,) * 3 if isinstance(stride, int) else stride
    assert y.shape == (2, 6, *(-(-n // s) for n, s in zip((5, 6, 8), steps, strict=True)))
    assert all(unit.conv.groups == unit.conv.in_channels for unit in block.units)
    y.square().mean().backward()
    assert all(p.grad is not None for p in block.parameters())


def test_a_network_of_large_kernels_from_plain_settings_folds() -> None:
    options = {
        "spatial_dims": 2,
        "in_channels": 1,
        "num_classes": 2,
        "channels": [4, 8],
        "activation": "gelu",
    }
    block = {"class_path": "MedNeXtBlock", "init_args": {"expansion": 4, "depth": 2}}
    more = {"kernel_sizes": [7, 5], "conv": "LargeKernelConv", "block": block}
    net = build_network({"class_path": "UNet", "init_args": options | more}).eval()
    assert [b.units[0].conv.kernel_size for b in net.encoder.blocks] == [(7, 7), (5, 5)]
    plain = fold(net)
    assert not any(isinstance(m, ConvOp) for m in plain.modules())
    x = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), net(x), atol=1e-5, rtol=1e-4)


def test_the_guide_reaches_every_unit_at_its_resolution() -> None:
    torch.manual_seed(0)
    block = MedNeXtBlock(2, 2, 2, conv=GradientWeightedConv, stride=2, depth=2).eval()
    x, guide = torch.randn(1, 2, 8, 8), gradient_energy(torch.randn(1, 1, 8, 8), (1.0, 1.0))
    plain = block(x, guide)
    for unit in block.units:
        torch.nn.init.constant_(unit.conv.rho_alpha, 1.0)
        assert not torch.allclose(block(x, guide), plain)
        torch.nn.init.zeros_(unit.conv.rho_alpha)


class _TwoOrientations(StandardConv):
    """What a third party might write: fields, yet no objection to depthwise kernels."""

    orientations = 2


@pytest.mark.parametrize("conv", [GroupConv, LiftingConv, partial(GroupConv, group="D4"), _TwoOrientations])
@pytest.mark.parametrize("channels", [6, 8])
def test_fields_are_refused_because_its_pointwise_convolutions_would_mix_orientations(
    conv: Any, channels: int
) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)MedNeXtBlock.*would mix.*orientations.*take PlainBlock or Res"
    ):
        MedNeXtBlock(2, channels, 2 * channels, conv=conv)


def test_a_network_of_fields_with_it_is_refused_from_plain_settings() -> None:
    over = {"init_args": {"group": "C4"}}
    options = {
        "spatial_dims": 2,
        "in_channels": 1,
        "num_classes": 2,
        "channels": [8, 16],
        "stem": {"class_path": "LiftingConv", **over},
        "conv": {"class_path": "GroupConv", **over},
        "block": "MedNeXtBlock",
    }
    with pytest.raises(ConfigError, match=r"GroupConv: expected .*MedNeXtBlock, would mix orientations"):
        build_network({"class_path": "UNet", "init_args": options})


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected expansion from 1 to 16, got 0"):
        MedNeXtBlock(2, 1, 2, conv=StandardConv, expansion=0)
    with pytest.raises(ConfigError, match="expected depth from 1 to"):
        MedNeXtBlock(2, 1, 2, conv=StandardConv, depth=0)
    with pytest.raises(ConfigError, match=r"expected dropout from 0 up to, not including, 1; got 1.0"):
        MedNeXtBlock(2, 1, 2, conv=StandardConv, dropout=1.0)
