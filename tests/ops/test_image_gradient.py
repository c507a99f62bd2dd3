from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medconv.errors import ConfigError, ShapeError
from medconv.ops import act, full_group, gradient_energy

INSIDE = (slice(None), slice(None), slice(8, -8), slice(8, -8))


@given(
    slope=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    spacing=st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
    sigma_mm=st.sampled_from([0.1, 0.7, 1.5]),
)
def test_ramp_gives_the_square_of_its_slope_per_millimetre(
    slope: tuple[float, float], spacing: tuple[float, float], sigma_mm: float
) -> None:
    grid = torch.meshgrid(*[torch.arange(41, dtype=torch.float64) * h for h in spacing], indexing="ij")
    ramp = (slope[0] * grid[0] + slope[1] * grid[1])[None, None]
    energy = gradient_energy(ramp, spacing, sigma_mm)[..., 15:-15, 15:-15]
    expected = torch.full_like(energy, slope[0] ** 2 + slope[1] ** 2)
    torch.testing.assert_close(energy, expected, atol=1e-10, rtol=1e-10)


def test_agrees_with_scipy_on_an_anisotropic_volume(rng: np.random.Generator) -> None:
    spacing, sigma_mm = (2.0, 1.0, 0.8), 1.6
    volume = ndimage.gaussian_filter(rng.standard_normal((16, 20, 22)), 1.5)
    sigma = [sigma_mm / h for h in spacing]
    expected = sum(
        (ndimage.gaussian_filter(volume, sigma, order=np.eye(3, dtype=int)[axis], mode="nearest") / h) ** 2
        for axis, h in enumerate(spacing)
    )
    got = gradient_energy(torch.from_numpy(volume)[None, None], spacing, sigma_mm)[0, 0].numpy()
    # scipy samples the derivative without giving it unit slope again: 1 % at 0.8 voxels
    np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.002 * expected.max())


def test_narrow_gaussian_is_a_central_difference_without_smoothing() -> None:
    image = torch.randn(1, 1, 9, 10, dtype=torch.float64)
    first, second = torch.gradient(image[0, 0], spacing=(2.0, 3.0), dim=(0, 1))
    energy = gradient_energy(image, (2.0, 3.0), sigma_mm=0.5)
    torch.testing.assert_close(energy[0, 0, 1:-1, 1:-1], (first**2 + second**2)[1:-1, 1:-1])


@pytest.mark.parametrize(("dims", "size", "expected"), [(2, 300, 0.081), (3, 64, 0.036)])
def test_noise_energy_is_that_of_the_theory(dims: int, size: int, expected: float) -> None:
    # 1 / (4 pi sigma^4) in 2-D and 3 / (16 pi^1.5 sigma^5) in 3-D, for sigma = 1 voxel, up to sampling
    noise = torch.randn(1, 1, *[size] * dims, generator=torch.Generator().manual_seed(0))
    assert gradient_energy(noise, (1.0,) * dims).mean().item() == pytest.approx(expected, rel=0.06)


def test_waves_in_every_direction_count_alike() -> None:
    axis = torch.arange(64, dtype=torch.float64)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    energies = []
    for angle in np.linspace(0, np.pi / 4, 7):
        phase = 2 * np.pi * 0.2 * (x * np.cos(angle) + y * np.sin(angle))
        waves = torch.stack([phase.sin(), phase.cos()])[None]  # sine and cosine: the energy is constant
        energies.append(gradient_energy(waves, (1.0, 1.0))[INSIDE].mean().item())
    assert max(energies) / min(energies) - 1 < 0.02


def test_edges_of_the_volume_make_no_frame() -> None:
    assert gradient_energy(torch.full((1, 2, 5, 6, 7), 3.0), (1.0, 1.0, 2.0)).abs().max() == 0


def test_channels_add_and_cases_do_not_mix() -> None:
    image = torch.randn(2, 3, 8, 9)
    energy = gradient_energy(image, (1.0, 1.0))
    assert energy.shape == (2, 1, 8, 9)
    parts = sum(gradient_energy(image[1:, c : c + 1], (1.0, 1.0)) for c in range(3))
    torch.testing.assert_close(energy[1:], parts)


@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_the_symmetries_of_the_grid(dims: int) -> None:
    image = torch.randn(1, 2, *[7] * dims, dtype=torch.float64)
    energy = gradient_energy(image, (1.0,) * dims)
    for g in full_group(dims):
        torch.testing.assert_close(
            gradient_energy(act(image, g), (1.0,) * dims), act(energy, g), rtol=1e-12, atol=0
        )


def test_offset_leaves_no_trace_and_scale_goes_in_squared() -> None:
    image = torch.randn(1, 1, 12, 13, 14, dtype=torch.float64)
    energy = gradient_energy(image, (1.0, 1.0, 1.0))
    torch.testing.assert_close(gradient_energy(image + 7, (1.0, 1.0, 1.0)), energy, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(gradient_energy(5 * image, (1.0, 1.0, 1.0)), 25 * energy)
    hounsfield = (image + 1000).float()
    torch.testing.assert_close(gradient_energy(hounsfield, (1.0,) * 3), energy.float(), rtol=0, atol=2e-3)


def test_half_precision_input_is_measured_in_float32() -> None:
    image = torch.zeros(1, 1, 8, 8, dtype=torch.float16)
    image[..., 4:] = 3000.0
    energy = gradient_energy(image, (0.1, 0.1))
    assert energy.dtype == torch.float32
    assert energy.isfinite().all()
    assert energy.max() > 1e7, "more than float16 can hold"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(gradient_energy(image, (0.1, 0.1)), energy)


def test_one_slice_has_no_gradient_across() -> None:
    image = torch.randn(1, 1, 1, 9, 9)
    flat = gradient_energy(image[:, :, 0], (1.0, 1.0))
    torch.testing.assert_close(gradient_energy(image, (5.0, 1.0, 1.0), sigma_mm=1.0)[:, :, 0], flat)


def test_is_differentiable() -> None:
    image = torch.randn(1, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gradient_energy(x, (1.0, 2.0)), image)


def test_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ShapeError, match=r"expected an image \(B, C, H, W\) or .*, got \(8, 8\)"):
        gradient_energy(torch.zeros(8, 8), (1.0, 1.0))
    with pytest.raises(ConfigError, match="expected spacing_mm with 2 entries"):
        gradient_energy(torch.zeros(1, 1, 8, 8), (1.0, 1.0, 1.0))
    with pytest.raises(ConfigError, match="expected positive spacing_mm and sigma_mm"):
        gradient_energy(torch.zeros(1, 1, 8, 8), (1.0, 1.0), sigma_mm=0.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_scharr_is_the_filter_of_three_taps(dims: int, rng: np.random.Generator) -> None:
    volume, spacing = rng.standard_normal((9, 8, 7)[:dims]), (2.0, 1.0, 0.5)[:dims]
    expected = np.zeros(volume.shape)
    for axis, h in enumerate(spacing):
        slope = ndimage.correlate1d(volume, [-0.5, 0.0, 0.5], axis, mode="nearest")
        for other in set(range(dims)) - {axis}:
            slope = ndimage.correlate1d(slope, [3 / 16, 10 / 16, 3 / 16], other, mode="nearest")
        expected += (slope / h) ** 2
    image = torch.from_numpy(volume)[None, None]
    got = gradient_energy(image, spacing, derivative="scharr")[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize(("dims", "expected"), [(2, 0.46), (3, 0.32)])
def test_scharr_lets_more_noise_through(dims: int, expected: float) -> None:
    torch.manual_seed(0)
    noise = torch.randn(1, 1, *[256 if dims == 2 else 48] * dims, dtype=torch.float64)
    energy = gradient_energy(noise, (1.0,) * dims, derivative="scharr").mean().item()
    assert energy == pytest.approx(expected, rel=0.06)


def test_refuses_what_scharr_does_not_have() -> None:
    image = torch.zeros(1, 1, 8, 8)
    with pytest.raises(ConfigError, match=r"sigma_mm=2\.0 has no effect with derivative='scharr'"):
        gradient_energy(image, (1.0, 1.0), 2.0, derivative="scharr")
    with pytest.raises(ConfigError, match="expected derivative 'gaussian' or 'scharr', got 'sobel'"):
        gradient_energy(image, (1.0, 1.0), derivative="sobel")  # type: ignore[arg-type]
