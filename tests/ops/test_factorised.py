from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from medconv.errors import ConfigError
from medconv.ops import FactorisedConv, StandardConv, check_conv

CONV = {2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("axis", [0, 1])
def test_its_kernel_is_the_product_of_both_steps(dims: int, groups: int, axis: int) -> None:
    torch.manual_seed(0)
    conv = FactorisedConv(dims, 4, 6, 3, groups=groups, axis=axis).double()
    oracle = torch.zeros(conv.weight_shape, dtype=torch.float64)
    size = 6 // groups
    for o in range(6):
        for m in range(size):
            line, flat = conv.line_weight[o, m], conv.slice_weight[o // size * size + m]
            oracle[o] += (line * flat).detach()  # a line and a plane broadcast to a cube
    torch.testing.assert_close(conv.dense_weight(), oracle, atol=1e-14, rtol=0)
    x = torch.randn(2, 4, *(7, 6, 5)[:dims], dtype=torch.float64)
    expected = CONV[dims](x, oracle, conv.bias, padding=1, groups=groups)
    torch.testing.assert_close(conv(x), expected, atol=1e-12, rtol=0)


def test_the_axis_across_is_the_coarsest() -> None:
    assert FactorisedConv(3, 1, 2, spacing_mm=(1.0, 3.0, 1.0)).axis == 1
    assert FactorisedConv(3, 1, 2).axis == 0
    check_conv(partial(FactorisedConv, axis=2), dims=(3,), backend=None)


def test_multiply_adds_are_those_of_both_steps() -> None:
    conv = FactorisedConv(3, 4, 8, stride=2)
    assert conv.macs((6, 6, 6)) == 6 * 3 * 3 * (4 * 8 * 9) + 3 * 3 * 3 * (8 * 8 * 3)
    assert FactorisedConv(3, 8, 8).macs((4, 4, 4)) < StandardConv(3, 8, 8).macs((4, 4, 4)) / 2


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_weights_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 64, *[12] * dims)
    y = FactorisedConv(dims, 64, 64, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_another_axis_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected axis from 0 to 1, got 2"):
        FactorisedConv(2, 1, 1, axis=2)
