from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medconv.ops import GradientWeightedConv, SymmetricConv, act, check_conv, full_group


def pairs(*args: Any, alpha: float = 0.6, **kwargs: Any) -> GradientWeightedConv:
    torch.manual_seed(0)
    conv = GradientWeightedConv(*args, mode="pairwise", **kwargs).double()
    with torch.no_grad():
        conv.rho_alpha.fill_(torch.tensor(alpha).atanh())
        conv.rho_contrast.fill_(0.4)
        if conv.bias is not None:
            conv.bias.normal_()
    return conv


def feed(*shape: int, channels: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(*shape, dtype=torch.float64)
    guide = torch.randn(shape[0], 1 + channels, *shape[2:], dtype=torch.float64)
    return x, guide


def by_the_definition(conv: GradientWeightedConv, x: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Voxel by voxel and tap by tap."""
    alpha, contrast = conv.alpha.item(), conv.contrast.item()
    weight, bias = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    sizes, share = conv.output_shape(x.shape[2:]), conv.out_channels // conv.groups
    y = np.zeros((x.shape[0], conv.out_channels, *sizes))
    for n, place in product(range(x.shape[0]), product(*map(range, sizes))):
        votes, certainty, taps = np.zeros(conv.out_channels), 0.0, 0
        middle = tuple(s * q for s, q in zip(conv.stride, place, strict=True))
        for tap in product(*map(range, conv.kernel_size)):
            step = [
                r * (t - (k - 1) // 2) for t, k, r in zip(tap, conv.kernel_size, conv.dilation, strict=True)
            ]
            there = tuple(m + d for m, d in zip(middle, step, strict=True))
            if not all(0 <= v < size for v, size in zip(there, x.shape[2:], strict=True)):
                continue
            distance2 = sum((d * h) ** 2 for d, h in zip(step, conv.spacing_mm, strict=True))
            jump = image[(n, slice(None), *there)] - image[(n, slice(None), *middle)]
            energy = (jump**2).sum() / distance2 if distance2 else 0.0
            omega = (1 + min(energy / contrast**2, 1e3)) ** -alpha
            for o in range(conv.out_channels):
                first = (o // share) * (conv.in_channels // conv.groups)
                inputs = x[(n, slice(first, first + conv.in_channels // conv.groups), *there)]
                votes[o] += weight[(o, slice(None), *tap)] @ inputs * omega
            certainty, taps = certainty + omega, taps + 1
        full = taps if conv.border == "zero" else np.prod(conv.kernel_size)
        y[(n, slice(None), *place)] = full / certainty * votes + bias
    return y


@pytest.mark.parametrize("border", ["zero", "partial"])
@pytest.mark.parametrize("alpha", [-0.8, 0.5])
@pytest.mark.parametrize(
    ("dims", "stride", "dilation", "groups"), [(2, 1, 1, 1), (2, 2, 2, 2), (3, 1, 1, 1), (3, 2, 1, 2)]
)
def test_agrees_with_the_definition(
    dims: int, stride: int, dilation: int, groups: int, alpha: float, border: Any
) -> None:
    spacing = (3.0, 1.0, 0.5)[:dims]
    conv = pairs(
        dims, 2, 4, stride=stride, dilation=dilation, groups=groups, border=border, alpha=alpha,
        spacing_mm=spacing,
    )  # fmt: skip
    x, guide = feed(2, 2, *(5, 4, 3)[:dims])
    expected = by_the_definition(conv, x.numpy(), guide[:, 1:].numpy())
    np.testing.assert_allclose(conv(x, guide).detach().numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dims", [2, 3])
def test_at_exponent_zero_it_is_the_plain_convolution(dims: int) -> None:
    conv = pairs(dims, 2, 3, alpha=0.0)
    x, guide = feed(2, 2, *(5, 6, 4)[:dims])
    plain = {2: F.conv2d, 3: F.conv3d}[dims](x, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x, guide), plain, atol=1e-14, rtol=0)


def test_nothing_is_mixed_across_an_edge_that_the_source_mode_silences() -> None:
    step = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    step[..., 4:] = 1.0
    conv = pairs(2, 1, 1, alpha=0.999, bias=False, contrast_per_mm=0.02)
    torch.nn.init.constant_(conv.weight, 1 / 9)
    guide = torch.cat([step, step], dim=1)
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    y = conv(step, guide)[inside]
    assert (y - step[inside]).abs().max() < 0.01, "each side keeps its own mean"
    assert (F.avg_pool2d(step, 3, 1) - step[inside]).abs().max() > 0.3


@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_rotations_when_its_kernel_is_symmetric(dims: int) -> None:
    conv = pairs(dims, 2, 3)
    with torch.no_grad():
        conv.weight.copy_(SymmetricConv(dims, 2, 3).double().dense_weight())
    x, guide = feed(1, 2, *[5] * dims)
    y = conv(x, guide)
    for g in full_group(dims):
        torch.testing.assert_close(conv(act(x, g), act(guide, g)), act(y, g), atol=5e-14, rtol=0)


def test_offset_and_scale_of_the_image_leave_no_trace() -> None:
    conv = pairs(2, 2, 3)
    x, guide = feed(1, 2, 6, 6)
    y = conv(x, guide)
    torch.testing.assert_close(conv(x, guide + 50), y, atol=1e-12, rtol=0)
    conv.contrast_per_mm *= 7
    torch.testing.assert_close(conv(x, 7 * guide), y, atol=1e-12, rtol=0)


def test_gradients_agree_with_finite_differences_also_for_the_image() -> None:
    conv = pairs(2, 2, 2)
    x, guide = feed(1, 2, 3, 3)
    names = [name for name, _ in conv.named_parameters()]

    def call(x: torch.Tensor, guide: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, dict(zip(names, values, strict=True)), (x, guide))

    values = [p.detach().clone().requires_grad_() for p in conv.parameters()]
    assert torch.autograd.gradcheck(call, (x.requires_grad_(), guide.requires_grad_(), *values))


@pytest.mark.slow
def test_passes_the_common_examination() -> None:
    def build(*args: Any, **kwargs: Any) -> GradientWeightedConv:
        return GradientWeightedConv(*args, mode="pairwise", **kwargs)

    assert not check_conv(build, backend=None).refused


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_hounsfield_units_stay_finite_in_half_precision(dtype: torch.dtype) -> None:
    for alpha in (-0.999, 0.999):
        conv = pairs(3, 2, 4, alpha=alpha).float()
        guide = torch.zeros(1, 2, 7, 7, 7)
        guide[..., 4:] = 3000.0
        x = torch.randn(1, 2, 7, 7, 7)
        with torch.autocast("cpu", dtype=dtype):
            y = conv(x.to(dtype), guide)
        assert y.dtype == dtype
        error = (y.float() - conv(x, guide)).norm() / conv(x, guide).norm()
        assert error < {torch.bfloat16: 2e-2, torch.float16: 5e-3}[dtype]
        y.float().square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in conv.parameters())
