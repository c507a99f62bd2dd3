"""Each intensity change against an independent implementation, and its neutral setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.transforms import AdjustContrast, RandSimulateLowResolution
from scipy import ndimage, stats
from torch.nn.functional import interpolate

from medconv.transforms.augment_intensity import (
    add_noise,
    blur,
    change_contrast,
    change_gamma,
    change_gamma_inverted,
    lower_resolution,
    multiply,
)

SHAPES = [(13, 9, 11), (17, 10)]


@pytest.fixture(params=SHAPES, ids=["3d", "2d"])
def rows(request):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(4, *request.param, generator=generator) * 2 + 0.5


STRENGTHS = torch.tensor([0.57, 0.7, 0.83, 1.0])  # no size times these is halfway between two


def test_blur_is_scipy_gaussian_filter(rows):
    blurred = blur(rows, STRENGTHS, radius=4)
    for row, sigma, result in zip(rows, STRENGTHS, blurred, strict=True):
        expected = ndimage.gaussian_filter(row.double().numpy(), float(sigma), mode="nearest", radius=4)
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_contrast_is_stretch_about_the_mean_within_the_old_range(rows):
    changed = change_contrast(rows, STRENGTHS + 0.4)
    for row, factor, result in zip(rows.double().numpy(), STRENGTHS + 0.4, changed, strict=True):
        expected = np.clip((row - row.mean()) * float(factor) + row.mean(), row.min(), row.max())
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_multiply_scales_each_row_by_its_own_factor(rows):
    np.testing.assert_array_equal(multiply(rows, STRENGTHS)[1], rows[1] * STRENGTHS[1])


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_is_monai_adjust_contrast(rows, inverted):
    change = change_gamma_inverted if inverted else change_gamma
    changed = change(rows, STRENGTHS + 0.3)
    for row, gamma, result in zip(rows, STRENGTHS + 0.3, changed, strict=True):
        oracle = AdjustContrast(float(gamma), invert_image=inverted, retain_stats=True)
        np.testing.assert_allclose(result, oracle(row.double()), atol=2e-4)


def test_gamma_keeps_mean_and_spread(rows):
    changed = change_gamma(rows, STRENGTHS + 0.3).flatten(1)
    torch.testing.assert_close(changed.mean(1), rows.flatten(1).mean(1), atol=1e-4, rtol=0)
    torch.testing.assert_close(changed.std(1), rows.flatten(1).std(1), atol=1e-4, rtol=0)


def test_gamma_of_a_constant_row_is_that_constant():
    rows = torch.full((2, 5, 5), 3.25)
    torch.testing.assert_close(change_gamma(rows, torch.tensor([0.7, 1.5])), rows)


def test_lower_resolution_is_nearest_down_and_linear_up(rows):
    changed = lower_resolution(rows, STRENGTHS)
    mode = "trilinear" if rows.dim() == 4 else "bilinear"
    for row, scale, result in zip(rows, STRENGTHS, changed, strict=True):
        kept = [max(1, round(n * float(scale))) for n in row.shape]
        small = interpolate(row[None, None], size=kept, mode="nearest-exact")
        expected = interpolate(small, size=row.shape, mode=mode)[0, 0]
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


def test_lower_resolution_is_monais_on_a_half():
    rows = torch.randn(1, 12, 8, 10, generator=torch.Generator().manual_seed(2))
    oracle = RandSimulateLowResolution(prob=1.0, downsample_mode="nearest-exact", zoom_range=(0.5, 0.5))
    expected = torch.as_tensor(oracle(rows)).as_subclass(torch.Tensor)
    torch.testing.assert_close(lower_resolution(rows, torch.tensor([0.5])), expected, atol=1e-5, rtol=1e-5)


def test_lower_resolution_survives_an_axis_of_one_voxel():
    rows = torch.randn(2, 1, 6)
    assert torch.equal(
        lower_resolution(rows, torch.tensor([0.5, 0.5]))[:, :, 0].isfinite(), torch.ones(2, 1).bool()
    )


def test_noise_is_gaussian_of_the_given_width():
    rows = torch.zeros(2, 30, 40, 30)
    noise = add_noise(rows, torch.tensor([0.05, 0.1]), seeds=[1, 2]).flatten(1).numpy()
    assert stats.kstest(noise[0] / 0.05, "norm").pvalue > 1e-3
    assert stats.kstest(noise[1] / 0.1, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise)[0, 1]) < 0.02


def test_noise_follows_from_its_seed_alone():
    rows = torch.zeros(2, 5, 7)
    both = add_noise(rows, torch.ones(2), seeds=[11, 12])
    assert torch.equal(add_noise(rows[:1], torch.ones(1), seeds=[12])[0], both[1])


def test_neutral_strengths_change_nothing(rows):
    one = torch.ones(len(rows))
    assert torch.equal(multiply(rows, one), rows)
    assert torch.equal(lower_resolution(rows, one), rows)
    assert torch.equal(add_noise(rows, 0 * one, seeds=[1, 2, 3, 4]), rows)
    torch.testing.assert_close(change_contrast(rows, one), rows)
    torch.testing.assert_close(change_gamma(rows, one), rows, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(change_gamma_inverted(rows, one), rows, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(blur(rows, one * 1e-3, radius=4), rows)
