"""The promise of group-equivariant networks: turn the image, and the result turns with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import yaml

from medconv.attention import (
    AttentionGate,
    ChannelAttention,
    ChannelShrinkage,
    SelfAttention,
    SpatialAttention,
)
from medconv.blocks import PlainBlock, ResidualBlock
from medconv.errors import ConfigError
from medconv.models import UNet, build_network, describe, fold
from medconv.ops import GroupConv, LiftingConv, StandardConv, SymmetricConv, act, full_group, named_group

YAML = """
class_path: UNet
init_args:
  spatial_dims: 3
  in_channels: 1
  num_classes: 2
  channels: [8, 16, 16]
  spacing_mm: [3, 1, 1]
  stem: {class_path: LiftingConv, init_args: {group: D4}}
  conv: {class_path: GroupConv, init_args: {group: D4}}
"""


def network(group: str = "C4", **options: Any) -> UNet:
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "channels": (8, 16, 16),
        "stem": partial(LiftingConv, group=group),
        "conv": partial(GroupConv, group=group),
    }
    net = UNet(2, 1, 3, **(given | options)).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def errors(net: UNet, dims: int) -> dict[Any, float]:
    x = torch.randn(1, 1, *[16 if dims == 2 else 8] * dims, dtype=torch.float64)
    with torch.no_grad():
        y = net(x)
        return {g: float((net(act(x, g)) - act(y, g)).abs().max()) for g in full_group(dims)}


OPTIONS: list[Any] = [
    {},
    pytest.param({"group": "D4"}, marks=pytest.mark.slow),
    {"block": ResidualBlock, "upsample": "nearest"},
    {"block": [PlainBlock, ResidualBlock, ResidualBlock], "norm": "batch"},
    {"norm": "group", "downsample": "average"},
    {"norm": "none", "attention": ChannelShrinkage},
    pytest.param({"attention": [ChannelAttention, ChannelAttention, SelfAttention]}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_whole_network_turns_with_the_image_and_says_so(options: dict[str, Any]) -> None:
    net = network(**options).eval()
    group = named_group(options.get("group", "C4"), 2)
    found = errors(net, 2)
    assert max(found[g] for g in group) < 1e-10
    assert min([e for g, e in found.items() if g not in group.elements], default=1.0) > 1e-4
    assert describe(net, (16, 16)).symmetry == group
    folded = errors(fold(net), 2)
    assert max(folded[g] for g in group) < 1e-10


@pytest.mark.slow
def test_in_space_from_yaml_in_training_with_statistics_of_whole_fields() -> None:
    net = build_network(yaml.safe_load(YAML)).double().train()
    group = named_group("D4", 3, axis=0)
    found = errors(net, 3)
    assert max(found[g] for g in group) < 1e-10
    assert describe(net, (8, 8, 8)).symmetry == group
    net(torch.randn(1, 1, 8, 8, 8, dtype=torch.float64)).square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_norm_of_single_orientations_would_break_it() -> None:
    net = network().eval()
    inner = net.encoder.blocks[0].units[0].norm
    assert inner.layer.num_features == 2
    plain = torch.nn.InstanceNorm2d(8, affine=True).double()
    torch.nn.init.normal_(plain.weight)
    net.encoder.blocks[0].units[0].norm = plain
    found = errors(net, 2)
    assert max(found[g] for g in named_group("C4", 2)) > 1e-3


def test_weights_are_saved_once_and_dropout_drops_whole_fields() -> None:
    net = network(dropout=0.5)
    assert len({t.data_ptr() for t in net.state_dict().values()}) == len(net.state_dict())
    dropout = net.encoder.blocks[0].units[0].dropout.train()
    y = dropout(torch.ones(1, 400, 3, 3)).unflatten(1, (100, 4)).flatten(2)
    assert all(row.unique().numel() == 1 for row in y[0])
    assert 0 < (y == 0).sum() < y.numel()


def test_at_equal_width_it_has_a_share_of_the_parameters() -> None:
    plain = UNet(2, 1, 3, channels=(8, 16, 16))
    lifted = UNet(2, 1, 3, channels=(8, 16, 16), stem=LiftingConv, conv=GroupConv)
    count = [sum(p.numel() for p in net.parameters() if p.dim() > 2) for net in (lifted, plain)]
    assert 0.24 < count[0] / count[1] < 0.4


def test_a_stem_is_a_unit_of_its_own() -> None:
    net = UNet(2, 1, 2, channels=(4, 8), stem=SymmetricConv)
    assert net.stem is not None
    assert net.encoder.blocks[0].units[0].conv.in_channels == 4
    assert net(torch.randn(1, 1, 9, 9)).shape == (1, 2, 9, 9)


def test_refuses_networks_that_would_not_be_equivariant() -> None:
    with pytest.raises(ConfigError, match="expected stem LiftingConv in a network of GroupConv"):
        UNet(2, 4, 2, channels=(4, 8), conv=GroupConv)
    with pytest.raises(ConfigError, match=r"expected GroupConv at all stages of encoder.*got StandardConv"):
        network(decoder_conv="standard")
    with pytest.raises(ConfigError, match=r"expected GroupConv at all stages.*got SymmetricConv"):
        network(conv=[GroupConv, SymmetricConv, GroupConv])
    with pytest.raises(ConfigError, match="expected one group in the whole network, got C2, C4"):
        network(conv=[GroupConv, partial(GroupConv, group="C2"), GroupConv])
    with pytest.raises(ConfigError, match=r"does not care where a voxel lies.*got SpatialAttention"):
        network(attention=SpatialAttention)
    with pytest.raises(ConfigError, match="expected no skip_attention on the fields of GroupConv"):
        network(skip_attention=AttentionGate)
    with pytest.raises(ConfigError, match="expected upsample 'linear' or 'nearest' between fields"):
        network(upsample="transpose")
    with pytest.raises(ConfigError, match="expected stem LiftingConv"):
        network(stem=StandardConv)
