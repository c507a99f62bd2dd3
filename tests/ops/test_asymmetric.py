from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from medconv.errors import ConfigError
from medconv.models import UNet, fold
from medconv.ops import AsymmetricConv, ConvOp, check_conv, conv_catalogue

CONV = {2: F.conv2d, 3: F.conv3d}
CHARACTERS = [{"branch_norm": "batch"}, {"skeleton": "planes"}, {"skeleton": "none", "branch_norm": "batch"}]


def trained(dims: int, **character: object) -> AsymmetricConv:
    """An operator whose statistics, scales and bias are no longer those of the start."""
    torch.manual_seed(0)
    conv = AsymmetricConv(dims, 3, 4, **character).double().train()  # type: ignore[arg-type]
    optimiser = torch.optim.SGD(conv.parameters(), lr=0.02)
    for _ in range(3):
        x = 2 + torch.randn(4, 3, *[6] * dims, dtype=torch.float64)
        optimiser.zero_grad()
        (conv(x) * torch.arange(4.0).reshape(-1, *[1] * dims)).square().mean().backward()
        optimiser.step()
    return conv


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("branch_norm", ["scale", "batch"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_merged_kernel_equals_the_branches_one_by_one(dims: int, branch_norm: str, bias: bool) -> None:
    conv = trained(dims, branch_norm=branch_norm, bias=bias).eval()
    x = torch.randn(2, 3, *(7, 6, 5)[:dims], dtype=torch.float64)
    total = 0.0 if conv.bias is None else conv.bias.reshape(-1, *[1] * dims)
    for n, weight in enumerate(conv.weights):
        y = CONV[dims](x, weight, padding=[k // 2 for k in weight.shape[2:]])
        scaled = conv.norms[n](y) if conv.norms else y * conv.scales[n].reshape(-1, *[1] * dims)
        total = total + scaled
    torch.testing.assert_close(conv(x), total, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(conv.fold()(x), total, atol=1e-12, rtol=1e-12)


def test_batch_norm_adds_a_bias_even_where_none_was_asked_for() -> None:
    conv = trained(2, branch_norm="batch", bias=False).eval()
    assert conv.bias is None
    assert conv.fold().bias.abs().max() > 0.1


@pytest.mark.parametrize("character", CHARACTERS, ids=str)
def test_other_characters_pass_the_examination(character: dict[str, str]) -> None:
    check_conv(partial(AsymmetricConv, **character), dims=(3,), backend=None)


def test_coarse_axes_get_one_tap() -> None:
    assert AsymmetricConv(3, 1, 2, spacing_mm=(2.01, 1.0, 1.0)).kernel_size == (1, 3, 3)
    assert AsymmetricConv(3, 1, 2, spacing_mm=(2.0, 1.0, 1.0)).kernel_size == (3, 3, 3)
    assert AsymmetricConv(2, 1, 2, spacing_mm=(1.0, 5.0)).kernel_size == (3, 1)


def test_a_flat_kernel_in_3d_is_a_2d_convolution_of_every_slice() -> None:
    conv = AsymmetricConv(3, 2, 4, spacing_mm=(5.0, 1.0, 1.0))
    x = torch.randn(1, 2, 3, 6, 7)
    slices = F.conv2d(x[0].movedim(0, 1), conv.dense_weight()[:, :, 0], conv.bias, padding=1)
    torch.testing.assert_close(conv(x)[0], slices.movedim(0, 1), atol=1e-6, rtol=1e-5)


def test_planes_lie_across_each_axis() -> None:
    shapes = [tuple(w.shape[2:]) for w in AsymmetricConv(3, 1, 2, skeleton="planes").weights]
    assert shapes == [(3, 3, 3), (1, 3, 3), (3, 1, 3), (3, 3, 1)]


@pytest.mark.parametrize("branch_norm", ["scale", "batch"])
def test_a_network_of_branches_folds_exactly(branch_norm: str) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 4), conv=partial(AsymmetricConv, branch_norm=branch_norm))
    net(torch.randn(4, 1, 8, 8))
    plain = fold(net.eval())
    assert not any(isinstance(m, ConvOp) for m in plain.modules())
    x = torch.randn(1, 1, 8, 8)
    torch.testing.assert_close(plain(x), net(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_branches_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, *[12] * dims)
    y = AsymmetricConv(dims, 32, 64, bias=False)(x)[(..., *[slice(1, -1)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


def test_the_common_base_is_no_operator_of_its_own() -> None:
    assert "ReparameterisedConv" not in conv_catalogue()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected skeleton 'none', 'lines' or 'planes', got 'cross'"):
        AsymmetricConv(2, 1, 1, skeleton="cross")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected skeleton 'lines' or 'none' in 2-D, got 'planes'"):
        AsymmetricConv(2, 1, 1, skeleton="planes")
    with pytest.raises(
        ConfigError, match="branch_norm 'scale' or 'batch', got 'instance'; norms with statistics"
    ):
        AsymmetricConv(2, 1, 1, branch_norm="instance")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"odd kernel sizes, which have a centre voxel, got \(2, 2\)"):
        AsymmetricConv(2, 1, 1, 2, stride=2)
