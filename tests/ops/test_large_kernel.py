from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from medconv.errors import ConfigError, ShapeError
from medconv.ops import LargeKernelConv, StandardConv, check_conv, grow_kernel

CONV = {2: F.conv2d, 3: F.conv3d}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("branch_norm", ["scale", "batch"])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_merged_kernel_equals_the_branches_one_by_one(dims: int, branch_norm: str, groups: int) -> None:
    torch.manual_seed(0)
    conv = LargeKernelConv(dims, 4, 4, 7, groups=groups, branch_norm=branch_norm).double()
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for _ in range(2):
            conv(1 + torch.randn(4, 4, *[6] * dims, dtype=torch.float64))
    conv.eval()
    x = torch.randn(2, 4, *(9, 8, 7)[:dims], dtype=torch.float64)
    total = conv.bias.reshape(-1, *[1] * dims)
    for n, (taps, rate) in enumerate([(7, 1), (3, 1), (3, 2), (3, 3)]):
        assert conv.weights[n].shape[2:] == (taps,) * dims
        y = CONV[dims](x, conv.weights[n], padding=rate * (taps // 2), dilation=rate, groups=groups)
        total = total + (conv.norms[n](y) if conv.norms else y * conv.scales[n].reshape(-1, *[1] * dims))
    torch.testing.assert_close(conv(x), total, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(conv.fold()(x), total, atol=1e-12, rtol=1e-12)


def test_batch_norm_in_training_sees_the_statistics_of_the_batch() -> None:
    conv = LargeKernelConv(2, 2, 2, 5, branch_norm="batch", bias=False).train()
    y = conv(3 + torch.randn(8, 2, 8, 8))
    assert y.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert conv.norms[0].running_mean.abs().max() > 0


def test_branches_are_shortened_across_flat_kernels() -> None:
    conv = LargeKernelConv(3, 2, 2, (1, 7, 5))
    assert [tuple(w.shape[2:]) for w in conv.weights] == [(1, 7, 5), (1, 3, 3), (1, 3, 3), (1, 3, 1)]
    assert [b.dilation for b in conv.branches[1:]] == [(1, 1, 1), (1, 2, 2), (1, 3, 1)]


@pytest.mark.slow
def test_other_branches_pass_the_examination() -> None:
    check_conv(partial(LargeKernelConv, branches=[(3, 1)]), dims=(3,), backend=None)
    check_conv(partial(LargeKernelConv, branch_norm="batch"), dims=(2,), backend=None)


@pytest.mark.parametrize("dims", [2, 3])
def test_initial_branches_keep_the_variance_behind_a_leaky_relu(dims: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, *[14] * dims)
    y = LargeKernelConv(dims, 32, 32, 5, bias=False)(x)[(..., *[slice(2, -2)] * dims)]
    ratio = F.leaky_relu(y, 0.01).square().mean() / x.square().mean()
    assert 0.8 <= ratio.item() <= 1.25


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("taps", [5, 7])
def test_grown_kernels_keep_their_answer_to_a_constant(dims: int, taps: int) -> None:
    torch.manual_seed(0)
    small = torch.randn(3, 2, *[3] * dims, dtype=torch.float64)
    flat = torch.full((1, 2, *[9] * dims), 2.0, dtype=torch.float64)
    middle = (..., *[4] * dims)
    grown = CONV[dims](flat, grow_kernel(small, taps), padding=taps // 2)
    torch.testing.assert_close(grown[middle], CONV[dims](flat, small, padding=1)[middle], atol=1e-10, rtol=0)
    energy = grow_kernel(small, taps, preserve="energy").square().flatten(2).sum(-1)
    torch.testing.assert_close(energy, small.square().flatten(2).sum(-1))


def test_interpolation_alone_would_multiply_the_dc_gain() -> None:
    torch.manual_seed(0)
    small = torch.rand(8, 8, 3, 3, 3)
    grown = F.interpolate(small, (5, 5, 5), mode="trilinear", align_corners=True)
    assert 4 < grown.sum() / small.sum() < 5


def test_a_large_kernel_grows_from_a_trained_small_one() -> None:
    torch.manual_seed(0)
    small = StandardConv(2, 3, 4)
    conv = LargeKernelConv(2, 3, 4, 5)
    conv.grow_from(small.dense_weight(), small.dense_bias())
    torch.testing.assert_close(conv.dense_weight(), grow_kernel(small.weight, 5))
    same = LargeKernelConv(2, 3, 4, 3)
    same.grow_from(small.dense_weight(), small.dense_bias())
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(same(x), small(x))
    conv(x).square().mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in conv.scales), "the other branches learn again"


def test_bad_settings_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"odd taps that span at most the kernel \(5, 5\), got 3 taps at dil.* 7"
    ):
        LargeKernelConv(2, 1, 1, 5, branches=[(3, 3)])
    with pytest.raises(ConfigError, match=r"branches of odd taps.*got 2 taps at dilation 1"):
        LargeKernelConv(2, 1, 1, 5, branches=[(2, 1)])
    with pytest.raises(ConfigError, match="odd kernel sizes, which have a centre"):
        LargeKernelConv(2, 1, 1, 4, stride=2)
    with pytest.raises(ConfigError, match=r"expected a kernel of at least \(5, 5\) taps, got \(3, 3\)"):
        grow_kernel(torch.zeros(1, 1, 5, 5), 3)
    with pytest.raises(ConfigError, match="preserve 'dc' or 'energy', got 'sum'"):
        grow_kernel(torch.zeros(1, 1, 3, 3), 5, preserve="sum")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="branch_norm 'scale' to take over a kernel, got 'batch'"):
        LargeKernelConv(2, 1, 1, 5, branch_norm="batch").grow_from(torch.zeros(1, 1, 3, 3))
    with pytest.raises(ShapeError, match=r"a kernel of \(1, 1\) channels, got \(2, 1\)"):
        LargeKernelConv(2, 1, 1, 5).grow_from(torch.zeros(2, 1, 3, 3))
