"""Tied weights written out by a kernel, against a sum of basis kernels in float64."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from medconv.kernels import is_channels_last, to_channels_last
from medconv.kernels.tied_weight import TiedWeight
from medconv.ops import SymmetricConv

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
@pytest.mark.parametrize(
    "shape", [(3, 5, 4, 3, 3, 3), (9, 8, 6, 5, 5), (1, 1, 1, 1, 1), (40, 2, 3, 1, 3, 3)], ids=str
)
def test_the_weight_and_its_gradient_are_those_of_the_sum(shape, last):
    outputs, inputs, m, *kernel = shape
    theta = torch.randn(outputs, inputs, m, device=DEVICE, requires_grad=True)
    basis = torch.randn(m, *kernel, device=DEVICE)
    weight = TiedWeight.apply(theta, basis.flatten(1), tuple(kernel), last, torch.float32)
    exact = theta.detach().double().requires_grad_()
    expected = torch.tensordot(exact, basis.double(), dims=1)
    assert weight.shape == expected.shape
    assert is_channels_last(weight) if last else weight.is_contiguous()
    torch.testing.assert_close(weight.double(), expected, atol=1e-5, rtol=1e-5)
    for grad in (
        torch.randn_like(weight),
        to_channels_last(torch.randn_like(weight)),
        weight.detach().clone(),
    ):
        (got,) = torch.autograd.grad(weight, theta, grad, retain_graph=True)
        (wanted,) = torch.autograd.grad(expected, exact, grad.double(), retain_graph=True)
        torch.testing.assert_close(got.double(), wanted, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("basis", ["orbit", "ring"])
def test_a_symmetric_kernel_is_symmetric_bit_by_bit_in_half_precision(basis, dtype):
    conv = SymmetricConv(3, 4, 6, 5, basis=basis).to(DEVICE)
    weight = TiedWeight.apply(conv.theta, conv.basis_kernels, conv.kernel_size, True, dtype)
    for turned in (weight.flip(2), weight.transpose(3, 4), weight.permute(0, 1, 4, 2, 3)):
        assert torch.equal(turned, weight)
    torch.testing.assert_close(weight.float(), conv.dense_weight(), atol=1e-2, rtol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("last", [True, False], ids=["channels-last", "contiguous"])
def test_on_a_gpu_the_operator_takes_the_quick_way_and_gives_the_same(last, monkeypatch):
    conv = SymmetricConv(3, 32, 48).cuda()
    x = torch.randn(2, 32, 12, 12, 12, device="cuda")
    x = (to_channels_last(x) if last else x).requires_grad_()

    def run():
        with torch.autocast("cuda", torch.bfloat16):
            y = conv(x)
        return y.float(), *torch.autograd.grad(y.float().square().mean(), [x, conv.theta])

    calls = []
    quick = TiedWeight.apply
    monkeypatch.setattr(TiedWeight, "apply", lambda *a: calls.append(a[4]) or quick(*a))
    got = run()
    assert calls == [torch.bfloat16]
    monkeypatch.setattr("medconv.kernels.tied_weight.is_usable", lambda _: False)
    for a, b in zip(got, run(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-2 * float(b.detach().abs().max()), rtol=0)
