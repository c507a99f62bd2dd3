"""Pooling and interpolation in channels-last layout against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("triton")

from medconv.kernels import concatenate, is_channels_last, max_pool, to_channels_last, upsample_linear
from medconv.kernels.max_pool import MaxPool
from medconv.kernels.upsample_linear import UpsampleLinear
from medconv.ndim import LINEAR_MODE, MAX_POOL

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def image(shape, seed=0):
    torch.manual_seed(seed)
    return to_channels_last(torch.randn(shape, device=DEVICE)).requires_grad_()


def gradients(y, x, grad):
    return torch.autograd.grad(y, x, grad)[0]


POOLS = [
    ((2, 3, 4, 6, 8), (2, 2, 2)),
    ((1, 32, 3, 4, 6), (1, 2, 2)),
    ((2, 5, 6, 4, 3), (3, 2, 1)),
    ((2, 40, 8, 6), (2, 2)),
]


@pytest.mark.parametrize(("shape", "stride"), POOLS, ids=str)
def test_pooling_and_its_gradient_are_pytorchs(shape, stride):
    x = image(shape)
    with torch.no_grad():
        x.copy_((x * 2).round())  # equal values: the first of them gets the gradient
    y, expected = MaxPool.apply(x, stride), MAX_POOL[len(stride)](x, stride)
    assert is_channels_last(y)
    assert torch.equal(y, expected)
    grad = to_channels_last(torch.randn_like(y))
    assert torch.equal(gradients(y, x, grad), gradients(expected, x, grad))


def test_a_broken_value_is_not_pooled_away():
    x = image((1, 2, 2, 2, 2)).detach()
    x[0, 1, 0, 1, 0] = torch.nan
    y = MaxPool.apply(x, (2, 2, 2)).flatten()
    assert y[0].isfinite()
    assert y[1].isnan()


UPS = [
    ((2, 3, 3, 4, 2), (2, 2, 2)),
    ((1, 32, 1, 3, 5), (2, 2, 2)),
    ((2, 5, 3, 4, 3), (1, 2, 2)),
    ((2, 40, 3, 4), (2, 2)),
    ((1, 2, 1, 1, 1), (2, 2, 2)),
]


@pytest.mark.parametrize(("shape", "ratio"), UPS, ids=str)
def test_doubling_and_its_gradient_are_pytorchs(shape, ratio):
    x = image(shape)
    size = [n * r for n, r in zip(shape[2:], ratio, strict=True)]
    y = UpsampleLinear.apply(x, ratio)
    expected = F.interpolate(x, size=size, mode=LINEAR_MODE[len(ratio)])
    assert is_channels_last(y)
    torch.testing.assert_close(y, expected, atol=1e-6, rtol=1e-5)
    grad = to_channels_last(torch.randn_like(y))
    torch.testing.assert_close(gradients(y, x, grad), gradients(expected, x, grad), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("operation", ["pool", "double"])
def test_a_gradient_that_is_a_slice_of_channels_is_read_where_it_lies(operation):
    x = image((2, 4, 2, 4, 6))
    y = MaxPool.apply(x, (2, 2, 2)) if operation == "pool" else UpsampleLinear.apply(x, (2, 2, 2))
    whole = to_channels_last(torch.randn(2, 12, *y.shape[2:], device=DEVICE))
    sliced = whole[:, 4:8]
    got = torch.autograd.grad(y, x, sliced, retain_graph=True)[0]
    assert torch.equal(got, gradients(y, x, to_channels_last(sliced)))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5, 6), (1, 4, 5, 6)], ids=str)
def test_concatenation_and_its_gradient_are_pytorchs(shape):
    maps = [image(shape), image((shape[0], 7, *shape[2:]), seed=1)]
    joined, expected = concatenate(maps), torch.cat(maps, 1)
    assert is_channels_last(joined)
    assert torch.equal(joined, expected)
    grad = torch.randn_like(joined)
    for a, b in zip(
        torch.autograd.grad(joined, maps, grad), torch.autograd.grad(expected, maps, grad), strict=True
    ):
        assert torch.equal(a, b)


def test_one_channel_is_arranged_so_that_a_convolution_keeps_the_layout():
    x, conv = torch.zeros(2, 1, 4, 4, 4), torch.nn.Conv3d(1, 4, 3)
    assert to_channels_last(x).stride(1) == 1
    assert is_channels_last(to_channels_last(conv)(to_channels_last(x)))
    assert torch.equal(to_channels_last(x), x)


def test_elsewhere_pytorch_does_it():
    x = torch.randn(1, 2, 5, 6)
    assert torch.equal(max_pool(x, (2, 2)), F.max_pool2d(x, 2))
    assert torch.equal(upsample_linear(x, (7, 12)), F.interpolate(x, size=(7, 12), mode="bilinear"))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_on_a_gpu_the_quick_way_is_taken_and_right(dtype):
    x = to_channels_last(torch.randn(2, 64, 20, 28, 20, device="cuda", dtype=dtype)).requires_grad_()
    pooled, fine = max_pool(x, (2, 2, 2)), upsample_linear(x, (40, 56, 40))
    assert "MaxPool" in type(pooled.grad_fn).__name__
    assert "UpsampleLinear" in type(fine.grad_fn).__name__
    assert torch.equal(pooled, F.max_pool3d(x, 2))
    exact = x.detach().double().requires_grad_()
    expected = F.interpolate(exact, scale_factor=2.0, mode="trilinear")
    tolerance = 2e-2 if dtype != torch.float32 else 1e-5
    torch.testing.assert_close(fine.double(), expected, atol=tolerance, rtol=tolerance)
    grad = torch.randn_like(fine)
    torch.testing.assert_close(
        gradients(fine, x, grad).double(),
        gradients(expected, exact, grad.double()),
        atol=3 * tolerance,
        rtol=tolerance,
    )
