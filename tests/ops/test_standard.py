from __future__ import annotations

import pytest
import torch
from torch import nn

from medconv.errors import ConfigError, ShapeError
from medconv.ops import ConvOp, StandardConv, conv_catalogue


@pytest.mark.parametrize("dims", [2, 3])
def test_equals_the_convolution_of_torch(dims: int) -> None:
    conv = StandardConv(dims, 4, 6, 3, stride=2, dilation=2, groups=2)
    module = (nn.Conv2d, nn.Conv3d)[dims - 2](4, 6, 3, 2, padding=2, dilation=2, groups=2)
    module.load_state_dict(conv.state_dict())
    x = torch.randn(2, 4, *(9, 8, 7)[:dims])
    assert torch.equal(conv(x), module(x))


def test_fold_is_a_plain_module_with_its_own_copy_of_the_weight() -> None:
    conv = StandardConv(3, 2, 4, bias=False).eval()
    plain = conv.fold()
    assert type(plain) is nn.Conv3d
    assert plain.bias is None
    assert not plain.training
    x = torch.randn(1, 2, 4, 5, 6)
    assert torch.equal(plain(x), conv(x))
    with torch.no_grad():
        plain.weight.zero_()
    assert conv.weight.abs().sum() > 0


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_weights_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, *[14] * dims)
    y = StandardConv(dims, 32, 64, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = nn.functional.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_only_a_kernel_of_one_is_symmetric() -> None:
    assert StandardConv(3, 1, 1).symmetry() is None
    pointwise = StandardConv(3, 1, 1, 1, spacing_mm=(3.0, 1.0, 1.0)).symmetry()
    assert pointwise is not None
    assert pointwise.name == "D4h"
    every_second = StandardConv(2, 1, 1, 1, stride=(1, 2)).symmetry()
    assert every_second is not None
    assert every_second.name == "D2"


def test_multiply_adds_are_counted_by_output_voxel() -> None:
    assert StandardConv(3, 4, 8, 3, stride=2, groups=2).macs((5, 6, 8)) == 3 * 3 * 4 * 8 * 2 * 27


def test_the_shipped_operators_are_in_the_catalogue() -> None:
    assert {"StandardConv", "SymmetricConv", "GradientWeightedConv"} <= set(conv_catalogue())
    assert all(issubclass(kind, ConvOp) for kind in conv_catalogue().values())


def test_geometry_is_checked_when_built() -> None:
    with pytest.raises(ConfigError, match="divisible by groups, got in_channels 4, out_channels 6, groups 4"):
        StandardConv(2, 4, 6, groups=4)
    with pytest.raises(ConfigError, match="expected an odd kernel_size, or an even one"):
        StandardConv(2, 1, 1, 2)
    with pytest.raises(ConfigError, match="expected spacing_mm with 3 entries"):
        StandardConv(3, 1, 1, spacing_mm=(1.0, 1.0))
    with pytest.raises(ConfigError, match=r"expected positive spacing_mm, got \(0.0, 1.0\)"):
        StandardConv(2, 1, 1, spacing_mm=(0.0, 1.0))
    with pytest.raises(ConfigError, match="expected spatial_dims 2 or 3, got 1"):
        StandardConv(1, 1, 1)


def test_input_is_checked_at_the_door() -> None:
    with pytest.raises(ShapeError, match=r"StandardConv: expected \(B, 2, D, H, W\), got \(1, 2, 8, 8\)"):
        StandardConv(3, 2, 1)(torch.zeros(1, 2, 8, 8))


def test_prints_its_geometry() -> None:
    text = repr(StandardConv(2, 4, 8, 3, stride=(1, 2), groups=4))
    assert text == "StandardConv(4, 8, kernel_size=(3, 3), stride=(1, 2), groups=4)"
