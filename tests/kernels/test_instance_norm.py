"""Instance norm with its nonlinearity against PyTorch's own, in float64 and by hand."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from medconv.kernels import instance_norm_act, is_channels_last, to_channels_last
from medconv.kernels.instance_norm import InstanceNormAct, plain_instance_norm_act

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

SHAPES = [(2, 3, 5, 4, 6), (1, 32, 9, 7, 8), (3, 40, 4, 4, 4), (2, 8, 13, 11), (2, 1, 1, 1, 2)]


def inputs(shape, dtype=torch.float32, offset=0.0):
    torch.manual_seed(0)
    x = to_channels_last(torch.randn(shape, device=DEVICE) * 3 + offset).to(dtype)
    weight = torch.rand(shape[1], device=DEVICE) + 0.5
    bias = torch.randn(shape[1], device=DEVICE)
    return x, weight, bias


def quick(x, weight, bias, slope=0.01):
    return InstanceNormAct.apply(x, weight, bias, 1e-5, slope)


@pytest.mark.parametrize("slope", [0.01, 0.0, 1.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_pytorchs(shape, slope):
    tensors = [t.requires_grad_() for t in inputs(shape)]
    # contiguous, since PyTorch 2.13 on a CPU gives a wrong gradient for batch 1 in channels-last
    exact = [t.detach().double().contiguous().requires_grad_() for t in tensors]
    y = quick(*tensors, slope)
    expected = plain_instance_norm_act(*exact, 1e-5, slope)
    assert is_channels_last(y)
    torch.testing.assert_close(y.double(), expected, atol=2e-5, rtol=2e-5)
    grad = to_channels_last(torch.randn_like(y))
    got = torch.autograd.grad(y, tensors, grad)
    wanted = torch.autograd.grad(expected, exact, grad.double().contiguous())
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-4, rtol=1e-4)


def test_a_mean_far_from_zero_costs_no_digits():
    x, weight, bias = inputs((2, 4, 8, 8, 8), offset=3e3)
    expected = plain_instance_norm_act(x.double(), weight.double(), bias.double(), 1e-5, 0.01)
    # what float32 itself loses in x is all that may be lost
    torch.testing.assert_close(quick(x, weight, bias).double(), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("cut", [slice(0, 6), slice(6, 12)])
def test_the_gradient_of_a_concatenation_is_read_where_it_lies(cut):
    x, weight, bias = inputs((2, 6, 4, 5, 3))
    x.requires_grad_()
    whole = to_channels_last(torch.randn(2, 12, 4, 5, 3, device=DEVICE))
    sliced = whole[:, cut]
    assert not is_channels_last(sliced)
    (got,) = torch.autograd.grad(quick(x, weight, bias), x, sliced)
    (expected,) = torch.autograd.grad(quick(x, weight, bias), x, to_channels_last(sliced))
    assert torch.equal(got, expected)


def test_gradients_in_any_other_layout_are_welcome():
    x, weight, bias = inputs((2, 6, 4, 5, 3))
    x.requires_grad_()
    grad = torch.randn(2, 6, 4, 5, 3, device=DEVICE)
    (got,) = torch.autograd.grad(quick(x, weight, bias), x, grad)
    (expected,) = torch.autograd.grad(quick(x, weight, bias), x, to_channels_last(grad))
    assert torch.equal(got, expected)


def test_pieces_of_unequal_length_are_merged_rightly(monkeypatch):
    monkeypatch.setattr("medconv.kernels.instance_norm._TILE", 32)
    x, weight, bias = inputs((1, 16, 5, 5, 3))  # 75 voxels in pieces of 2
    torch.testing.assert_close(
        quick(x, weight, bias), plain_instance_norm_act(x, weight, bias, 1e-5, 0.01), atol=2e-5, rtol=2e-5
    )


def test_elsewhere_pytorch_does_it():
    x, weight, bias = inputs((2, 3, 4, 4, 4))
    x, weight, bias = x.cpu().contiguous(), weight.cpu(), bias.cpu()
    expected = torch.nn.functional.leaky_relu(
        torch.nn.functional.instance_norm(x, weight=weight, bias=bias, eps=1e-5), 0.01
    )
    assert torch.equal(instance_norm_act(x, weight, bias, 1e-5, 0.01), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("shape", [(9, 32, 40, 56, 40), (2, 320, 8, 8, 8), (2, 64, 100, 100)], ids=str)
def test_on_a_gpu_in_every_precision(shape, dtype):
    x, weight, bias = inputs(shape, dtype)
    x.requires_grad_()
    exact = x.detach().double().requires_grad_()
    y, expected = (
        instance_norm_act(x, weight, bias, 1e-5, 0.01),
        plain_instance_norm_act(exact, weight.double(), bias.double(), 1e-5, 0.01),
    )
    assert y.grad_fn is not None
    assert "InstanceNormAct" in type(y.grad_fn).__name__
    tolerance = 2e-2 if dtype != torch.float32 else 1e-4
    torch.testing.assert_close(y.double(), expected, atol=tolerance, rtol=tolerance)
    grad = torch.randn_like(y)
    (got,), (wanted,) = (
        torch.autograd.grad(y, x, grad),
        torch.autograd.grad(expected, exact, grad.double()),
    )
    torch.testing.assert_close(got.double(), wanted, atol=tolerance, rtol=tolerance)
