from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from medconv.attention import SpatialAttention
from medconv.errors import ConfigError
from medconv.ops import full_group


def awake(*args: Any, **kwargs: Any) -> SpatialAttention:
    torch.manual_seed(0)
    layer = SpatialAttention(*args, **kwargs).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize(("gate", "scale"), [("sigmoid", 1), ("centred", 2)])
@pytest.mark.parametrize(("dims", "kernel"), [(2, 7), (3, 3)])
def test_is_a_convolution_of_the_largest_and_the_mean_channel(
    dims: int, kernel: int, gate: Any, scale: int
) -> None:
    layer = awake(dims, 5, kernel_size=kernel, gate=gate)
    x = torch.randn(2, 5, *(9, 8, 7)[:dims], dtype=torch.float64)
    seen = torch.stack([x.max(dim=1).values, x.sum(dim=1) / 5], dim=1)
    convolution = {2: F.conv2d, 3: F.conv3d}[dims]
    logits = convolution(seen, layer.conv.weight, layer.conv.bias, padding=kernel // 2)
    torch.testing.assert_close(layer(x), x * scale / (1 + torch.exp(-logits)), atol=1e-12, rtol=0)


def test_pointwise_is_a_weighted_sum_of_the_channels() -> None:
    layer = awake(2, 5, kind="pointwise", gate="sigmoid")
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
    logits = torch.einsum("c,bchw->bhw", layer.conv.weight.flatten(), x) + layer.conv.bias
    torch.testing.assert_close(layer(x), x * logits.sigmoid()[:, None], atol=1e-12, rtol=0)


def test_one_factor_a_voxel_for_all_channels() -> None:
    layer = awake(3, 4)
    x = torch.randn(2, 4, 5, 4, 6, dtype=torch.float64)
    gates = layer.gates(x)
    assert gates.shape == (2, 1, 5, 4, 6)
    assert ((gates > 0) & (gates < 2)).all()
    torch.testing.assert_close(layer(x) / x, gates.expand_as(x))


def test_exchanging_channels_exchanges_them_in_the_result() -> None:
    layer, order = awake(2, 6), torch.randperm(6)
    x = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], atol=1e-13, rtol=0)


@pytest.mark.parametrize(("dims", "size"), [(2, 7), (3, 5)])
def test_window_has_the_published_size_and_in_space_a_smaller_one(dims: int, size: int) -> None:
    layer = SpatialAttention(dims, 32)
    assert sum(p.numel() for p in layer.parameters()) == 2 * size**dims + 1
    symmetric = SpatialAttention(dims, 32, symmetric=True)
    assert sum(p.numel() for p in symmetric.parameters()) < size**dims
    assert (layer.symmetry(), symmetric.symmetry()) == (None, full_group(dims))


def test_refuses_what_has_no_effect_or_no_centre() -> None:
    with pytest.raises(ConfigError, match="expected kind 'window' or 'pointwise', got 'cbam'"):
        SpatialAttention(2, 4, kind="cbam")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="have no effect with kind='pointwise', which sees one voxel"):
        SpatialAttention(2, 4, kind="pointwise", kernel_size=3)
    with pytest.raises(ConfigError, match="have no effect with kind='pointwise'"):
        SpatialAttention(2, 4, kind="pointwise", symmetric=True)
    with pytest.raises(ConfigError, match=r"expected gate 'centred' or 'sigmoid' .*, got 'tanh'"):
        SpatialAttention(2, 4, gate="tanh")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected an odd kernel_size"):
        SpatialAttention(2, 4, kernel_size=4)
