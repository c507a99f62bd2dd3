"""The quick gradient-weighted convolution against the plain one in float64."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from medconv.kernels import is_channels_last, to_channels_last
from medconv.kernels.normalised_convolution import NormalisedConvolution
from medconv.ops import GradientWeightedConv
from medconv.ops.normalised import EMPTY_WINDOW, MAX_ENERGY, Window

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

# shape, outputs, border, bias, geometry
CASES = {
    "3-D": ((2, 3, 5, 4, 6), 4, "zero", True, {}),
    "3-D without bias": ((2, 3, 3, 4, 3), 4, "partial", False, {}),
    "2-D with groups": ((2, 4, 7, 6), 6, "partial", True, {"groups": 2}),
    "stride and dilation": ((1, 3, 9, 5, 7), 4, "zero", True, {"stride": (1, 2, 3), "dilation": (1, 2, 1)}),
    "flat kernel": ((2, 2, 3, 6, 6), 3, "zero", False, {"kernel_size": (1, 3, 5)}),
    "even kernel": ((2, 2, 6, 6), 3, "zero", True, {"kernel_size": 2, "stride": 2}),
    "many channels": ((1, 40, 2, 3, 4), 136, "zero", True, {"kernel_size": (1, 3, 3)}),
}


@pytest.fixture(autouse=True)
def whole_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def operator(outputs, shape, border, bias, **geometry):
    conv = GradientWeightedConv(len(shape) - 2, shape[1], outputs, border=border, bias=bias, **geometry).to(
        DEVICE
    )
    torch.nn.init.constant_(conv.rho_alpha, 0.8)
    torch.nn.init.constant_(conv.rho_contrast, -0.3)
    return conv


def quick(conv, x, guide):
    window = Window(conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    bounds = (MAX_ENERGY, EMPTY_WINDOW)
    return NormalisedConvolution.apply(
        x, guide, conv.alpha, conv.contrast, conv.weight, conv.bias, window, conv.border == "partial", bounds
    )


def inputs(shape):
    torch.manual_seed(0)
    x = to_channels_last(torch.randn(shape, device=DEVICE)).requires_grad_()
    guide = torch.rand(shape[0], 1, *shape[2:], device=DEVICE) ** 4 * 3e3  # some beyond the largest contrast
    return x, guide


@pytest.mark.parametrize(("shape", "outputs", "border", "bias", "geometry"), CASES.values(), ids=CASES)
def test_values_and_gradients_are_those_of_the_operator(shape, outputs, border, bias, geometry):
    conv = operator(outputs, shape, border, bias, **geometry)
    x, guide = inputs(shape)
    y = quick(conv, x, guide)
    exact = operator(outputs, shape, border, bias, **geometry).double()
    exact.load_state_dict(conv.state_dict())
    xx = x.detach().double().contiguous().requires_grad_()
    expected = exact(xx, guide.double())
    assert is_channels_last(y)
    torch.testing.assert_close(y.double(), expected, atol=1e-4, rtol=1e-4)
    g = torch.randn_like(y)
    got = torch.autograd.grad(y, [x, *conv.parameters()], g)
    wanted = torch.autograd.grad(expected, [xx, *exact.parameters()], g.double())
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-3 * float(b.detach().abs().max()) + 1e-6, rtol=1e-3)


def test_at_exponent_zero_it_is_the_plain_convolution_bit_by_bit():
    conv = GradientWeightedConv(3, 4, 4, bias=False).to(DEVICE)
    x, guide = inputs((1, 4, 4, 4, 4))
    plain = torch.nn.functional.conv3d(x, conv.weight, None, 1, 1)
    assert torch.equal(quick(conv, x, guide), plain)


def test_the_gradient_of_a_concatenation_is_read_where_it_lies():
    conv = operator(4, (1, 3, 4, 4, 4), "zero", True)
    x, guide = inputs((1, 3, 4, 4, 4))
    sliced = to_channels_last(torch.randn(1, 9, 4, 4, 4, device=DEVICE))[:, 2:6]
    parts = [x, *conv.parameters()]
    got = torch.autograd.grad(quick(conv, x, guide), parts, sliced)
    for a, b in zip(
        got, torch.autograd.grad(quick(conv, x, guide), parts, to_channels_last(sliced)), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)  # cuDNN adds up in no fixed order


@pytest.mark.parametrize("exponent", [-2.0, 2.0])
def test_in_float16_weights_of_large_energies_neither_overflow_nor_vanish(exponent):
    conv = operator(4, (2, 3, 4, 4), "zero", True).half()
    torch.nn.init.constant_(conv.rho_alpha, exponent)
    x = to_channels_last(100 * torch.randn(2, 3, 4, 4, device=DEVICE)).half().requires_grad_()
    guide = 1e6 + 1e6 * torch.rand(2, 1, 4, 4, device=DEVICE)
    y = quick(conv, x, guide)
    gradients = torch.autograd.grad(y.float().mean(), [x, *conv.parameters()])
    assert all(torch.isfinite(t).all() for t in (y, *gradients))
    expected = conv.double()(x.double(), guide.double()).detach()
    torch.testing.assert_close(y.double(), expected, atol=2e-2 * float(expected.abs().max()), rtol=0)


def test_only_what_is_asked_for_gets_a_gradient():
    conv = operator(4, (1, 3, 4, 4), "zero", True).requires_grad_(False)
    x, guide = inputs((1, 3, 4, 4))
    (dx,) = torch.autograd.grad(quick(conv, x, guide).sum(), x)
    conv.weight.requires_grad_()
    both = torch.autograd.grad(quick(conv, x.detach(), guide).sum(), conv.weight)
    assert dx.shape == x.shape
    assert both[0].abs().sum() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_on_a_gpu_the_operator_takes_the_quick_way_and_gives_the_same(dtype, monkeypatch):
    conv = operator(48, (2, 32, 12, 12, 12), "zero", True)
    x, guide = inputs((2, 32, 12, 12, 12))

    def run():
        with torch.autocast("cuda", dtype):
            y = conv(x, guide)
        return y.float(), *torch.autograd.grad(y.float().square().mean(), [x, *conv.parameters()])

    calls = []
    apply = NormalisedConvolution.apply
    monkeypatch.setattr(NormalisedConvolution, "apply", lambda *a: calls.append(a[0].dtype) or apply(*a))
    got = run()
    assert calls == [dtype]
    monkeypatch.setattr("medconv.kernels.normalised_convolution.is_usable", lambda _: False)
    for a, b in zip(got, run(), strict=True):
        torch.testing.assert_close(a, b, atol=3e-2 * float(b.detach().abs().max()), rtol=0)
