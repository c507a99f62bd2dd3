from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medconv.errors import ConfigError, ShapeError
from medconv.ops import GradientWeightedConv, SymmetricConv, act, full_group, gradient_energy

CONV = {2: F.conv2d, 3: F.conv3d}


def weighted(*args: Any, alpha: float = 0.6, **kwargs: Any) -> GradientWeightedConv:
    """An operator away from its neutral start, in float64."""
    torch.manual_seed(0)
    conv = GradientWeightedConv(*args, **kwargs).double()
    with torch.no_grad():
        conv.rho_alpha.fill_(torch.tensor(alpha).atanh())
        conv.rho_contrast.fill_(0.4)
        if conv.bias is not None:
            conv.bias.normal_()
    return conv


def by_the_definition(conv: GradientWeightedConv, x: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Output voxel by output voxel, from the formula: (M / N) * sum of W a x, plus b."""
    alpha, contrast = conv.alpha.item(), conv.contrast.item()
    a = (1 + np.minimum(guide / contrast**2, 1e3)) ** -alpha
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    sizes = conv.output_shape(x.shape[2:])
    y = np.zeros((x.shape[0], conv.out_channels, *sizes))
    for n, place in product(range(x.shape[0]), product(*map(range, sizes))):
        votes, certainty, taps = 0.0, 0.0, 0
        for tap in product(*map(range, conv.kernel_size)):
            geometry = zip(place, tap, conv.stride, conv.dilation, conv.padding, strict=True)
            source = tuple(s * q + r * t - p for q, t, s, r, p in geometry)
            if all(0 <= v < size for v, size in zip(source, x.shape[2:], strict=True)):
                votes = votes + weight[(..., *tap)] @ x[(n, slice(None), *source)] * a[(n, 0, *source)]
                certainty += a[(n, 0, *source)]
                taps += 1
        full = taps if conv.border == "zero" else np.prod(conv.kernel_size)
        y[(n, slice(None), *place)] = full / certainty * votes + bias
    return y


@pytest.mark.parametrize("border", ["zero", "partial"])
@pytest.mark.parametrize("alpha", [-0.8, 0.5])
@pytest.mark.parametrize(("dims", "stride", "dilation"), [(2, 1, 1), (2, 2, 2), (3, 2, 1)])
def test_agrees_with_the_definition(dims: int, stride: int, dilation: int, alpha: float, border: Any) -> None:
    conv = weighted(dims, 2, 3, stride=stride, dilation=dilation, border=border, alpha=alpha)
    x = torch.randn(2, 2, *(6, 5, 4)[:dims], dtype=torch.float64)
    guide = 3 * torch.rand(2, 1, *x.shape[2:], dtype=torch.float64)
    expected = by_the_definition(conv, x.numpy(), guide.numpy())
    np.testing.assert_allclose(conv(x, guide).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_begins_as_the_plain_convolution_bit_by_bit(dims: int, stride: int) -> None:
    conv = GradientWeightedConv(dims, 3, 4, stride=stride, groups=1, bias=False)
    x, guide = torch.randn(2, 3, *[7] * dims), 1e4 * torch.rand(2, 1, *[7] * dims)
    expected = CONV[dims](x, conv.weight, None, stride, 1)
    assert conv.alpha == 0
    assert torch.equal(conv(x, guide), expected)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            assert torch.equal(conv(x, guide), CONV[dims](x, conv.weight, None, stride, 1))


def test_begins_as_the_plain_convolution_with_bias_up_to_rounding() -> None:
    conv = weighted(3, 2, 4, alpha=0.0)
    x = torch.randn(2, 2, 5, 6, 7, dtype=torch.float64)
    guide = torch.rand(2, 1, 5, 6, 7, dtype=torch.float64)
    torch.testing.assert_close(
        conv(x, guide), F.conv3d(x, conv.weight, conv.bias, padding=1), atol=1e-14, rtol=0
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_partial_border_is_partial_convolution_padding(stride: int) -> None:
    conv = weighted(2, 2, 3, alpha=0.0, border="partial", stride=stride)
    x = torch.randn(1, 2, 7, 6, dtype=torch.float64)
    valid = F.unfold(F.pad(torch.ones(1, 1, 7, 6, dtype=torch.float64), [1] * 4), 3, stride=stride).sum(dim=1)
    plain = F.conv2d(x, conv.weight, None, stride, 1)
    expected = plain * (9 / valid).reshape(1, 1, *plain.shape[2:]) + conv.bias[:, None, None]
    torch.testing.assert_close(conv(x, torch.rand_like(x[:, :1])), expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("alpha", [-0.9, 0.0, 0.9])
def test_constant_guide_weights_nothing(alpha: float) -> None:
    conv = weighted(2, 2, 3, alpha=alpha)
    x = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    guide = torch.full((2, 1, 6, 7), 5.0, dtype=torch.float64)
    torch.testing.assert_close(conv(x, guide), F.conv2d(x, conv.weight, conv.bias, padding=1))


@pytest.mark.parametrize("alpha", [-0.9, 0.9])
def test_averaging_a_constant_gives_the_constant_whatever_the_weights(alpha: float) -> None:
    conv = weighted(3, 1, 1, alpha=alpha, border="partial", bias=False)
    with torch.no_grad():
        conv.weight.fill_(1 / 27)
    guide = 10 * torch.rand(1, 1, 5, 6, 7, dtype=torch.float64)
    y = conv(torch.full((1, 1, 5, 6, 7), 3.0, dtype=torch.float64), guide)
    torch.testing.assert_close(y, torch.full_like(y, 3.0), atol=1e-14, rtol=0)


def test_positive_exponent_silences_edges_and_negative_lets_them_speak() -> None:
    x = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64).expand(1, 1, 5, 5)
    guide = 9 * x
    mean = {}
    for alpha in (-0.9, 0.0, 0.9):
        conv = weighted(2, 1, 1, alpha=alpha, bias=False)
        torch.nn.init.constant_(conv.weight, 1 / 9)
        mean[alpha] = conv(x, guide)[0, 0, 2, 2].item()
    assert mean[0.9] < 0.6 * mean[0.0] == pytest.approx(0.2)
    assert mean[-0.9] > 1.5 * mean[0.0]


@pytest.mark.parametrize("alpha", [-0.7, 0.7])
def test_offset_of_the_image_leaves_no_trace_and_its_scale_goes_with_the_contrast(alpha: float) -> None:
    conv = weighted(2, 2, 3, alpha=alpha)
    image = torch.randn(1, 1, 16, 17, dtype=torch.float64)
    x = torch.randn(1, 2, 16, 17, dtype=torch.float64)
    expected = conv(x, gradient_energy(image, (1.0, 0.5)))
    shifted = conv(x, gradient_energy(image + 100, (1.0, 0.5)))
    torch.testing.assert_close(shifted, expected, atol=1e-12, rtol=0)
    conv.contrast_per_mm *= 7
    scaled = conv(x, gradient_energy(7 * image, (1.0, 0.5)))
    torch.testing.assert_close(scaled, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("border", ["zero", "partial"])
def test_commutes_with_rotations_when_its_kernel_is_symmetric(dims: int, border: Any) -> None:
    conv = weighted(dims, 2, 3, border=border)
    with torch.no_grad():
        conv.weight.copy_(SymmetricConv(dims, 2, 3).double().dense_weight())
    x = torch.randn(1, 2, *[6] * dims, dtype=torch.float64)
    image = torch.randn(1, 1, *[6] * dims, dtype=torch.float64)
    guide = gradient_energy(image, (1.0,) * dims)
    featured = weighted(dims, 2, 3, border=border, guide="feature")
    featured.load_state_dict(conv.state_dict())
    y, own = conv(x, guide), featured(x)
    for g in full_group(dims):
        moved = gradient_energy(act(image, g), (1.0,) * dims)
        torch.testing.assert_close(conv(act(x, g), moved), act(y, g), atol=1e-13, rtol=0)
        torch.testing.assert_close(featured(act(x, g)), act(own, g), atol=1e-13, rtol=0)
    assert conv.symmetry() is None, "declared only where it holds for every weight"


def test_gradients_of_all_that_is_learned_and_of_the_guide() -> None:
    conv = weighted(2, 2, 2)
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    guide = (2 * torch.rand(1, 1, 4, 4, dtype=torch.float64)).requires_grad_()
    names = [name for name, _ in conv.named_parameters()]

    def call(x: torch.Tensor, guide: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, dict(zip(names, values, strict=True)), (x, guide))

    parameters = [p.detach().clone().requires_grad_() for p in conv.parameters()]
    assert torch.autograd.gradcheck(call, (x, guide, *parameters))


def test_exponent_moves_first_and_contrast_only_after_it() -> None:
    conv = GradientWeightedConv(2, 1, 2)
    conv(torch.randn(1, 1, 8, 8), torch.rand(1, 1, 8, 8)).square().sum().backward()
    assert conv.rho_alpha.grad.abs() > 0
    assert conv.rho_contrast.grad == 0


@pytest.mark.parametrize("mode", ["source", "pairwise"])
def test_guide_of_features_is_their_mean_as_data_and_uses_the_spacing(mode: Any) -> None:
    conv = weighted(2, 2, 3, spacing_mm=(3.0, 1.0), guide="feature", mode=mode)
    guided = weighted(2, 2, 3, spacing_mm=(3.0, 1.0), mode=mode)
    assert (conv.needs_guide, guided.needs_guide) == (False, True)
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    mean = x.detach().mean(dim=1, keepdim=True)
    guide = torch.cat([gradient_energy(mean, (3.0, 1.0)), mean], dim=1)
    assert torch.equal(conv(x), guided(x, guide))
    (implicit,) = torch.autograd.grad(conv(x).square().sum(), x)
    (explicit,) = torch.autograd.grad(guided(x, guide).square().sum(), x)
    assert torch.equal(implicit, explicit)


@pytest.mark.parametrize("border", ["zero", "partial"])
@pytest.mark.parametrize("alpha", [-0.999, 0.999])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hounsfield_units_stay_finite_in_half_precision(
    dtype: torch.dtype, alpha: float, border: Any
) -> None:
    conv = weighted(3, 2, 4, alpha=alpha, border=border).float()
    image = torch.zeros(1, 1, 9, 9, 9)
    image[..., 5:] = 3000.0
    x = torch.randn(1, 2, 9, 9, 9)
    guide = gradient_energy(image, (0.5,) * 3)
    with torch.autocast("cpu", dtype=dtype):
        y = conv(x.to(dtype), guide)
    assert y.dtype == dtype
    error = (y.float() - conv(x, guide)).norm() / conv(x, guide).norm()
    assert error < {torch.bfloat16: 2e-2, torch.float16: 5e-3}[dtype]
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in conv.parameters())


def test_window_without_a_voxel_gives_the_bias() -> None:
    # one voxel, two taps that both miss it
    conv = weighted(2, 1, 1, (2, 1), dilation=(2, 1), border="partial")
    y = conv(torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64))
    assert torch.equal(y.flatten(), conv.bias)


def test_cannot_be_folded() -> None:
    conv = GradientWeightedConv(2, 1, 1)
    assert not conv.is_foldable
    with pytest.raises(ConfigError, match="GradientWeightedConv depends on its input and equals no plain"):
        conv.fold()


def test_contrast_starts_at_the_given_value_and_stays_positive() -> None:
    conv = GradientWeightedConv(2, 1, 1, contrast_per_mm=0.3)
    assert conv.contrast.item() == pytest.approx(0.3)
    with torch.no_grad():
        conv.rho_contrast.fill_(-20.0)
    assert 0 < conv.contrast.item() < 1e-6


def test_cost_counts_weighting_and_rescaling() -> None:
    assert GradientWeightedConv(2, 3, 5, stride=2).macs((8, 8)) == 16 * 5 * 3 * 9 + 3 * 64 + 5 * 16


def test_refuses_settings_and_guides_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match=r"expected a positive contrast_per_mm, got 0\.0"):
        GradientWeightedConv(2, 1, 1, contrast_per_mm=0.0)
    with pytest.raises(ConfigError, match="expected border 'zero' or 'partial', got 'reflect'"):
        GradientWeightedConv(2, 1, 1, border="reflect")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected mode 'source' or 'pairwise', got 'target'"):
        GradientWeightedConv(2, 1, 1, mode="target")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected guide 'image' or 'feature', got 'label'"):
        GradientWeightedConv(2, 1, 1, guide="label")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"expected an odd kernel_size in mode 'pairwise', .*got \(2, 2\)"):
        GradientWeightedConv(2, 1, 1, 2, stride=2, mode="pairwise")
    x = torch.zeros(2, 3, 8, 8)
    conv, pairs = GradientWeightedConv(2, 3, 1), GradientWeightedConv(2, 3, 1, mode="pairwise")
    with pytest.raises(ShapeError, match=r"expected a guide of shape \(2, 1, 8, 8\), got \(2, 1, 4, 4\)"):
        conv(x, torch.zeros(2, 1, 4, 4))
    with pytest.raises(
        ShapeError, match=r"expected a guide of shape \(2, 1, 8, 8\), got none; UNet makes it"
    ):
        conv(x)
    with pytest.raises(
        ShapeError, match=r"expected a guide of shape \(2, 1 \+ C_I, 8, 8\), got \(2, 1, 8, 8\)"
    ):
        pairs(x, torch.zeros(2, 1, 8, 8))
    with pytest.raises(ShapeError, match="guide='feature' takes its edges from the input, got a guide"):
        GradientWeightedConv(2, 3, 1, guide="feature")(x, torch.zeros(2, 1, 8, 8))


def test_cost_of_pairs_counts_every_tap() -> None:
    conv = GradientWeightedConv(2, 3, 5, stride=2, mode="pairwise")
    assert conv.macs((8, 8)) == 16 * 5 * 3 * 9 + 3 * 9 * 16 + 5 * 16
