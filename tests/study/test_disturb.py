"""Noise, blur and contrast against their definitions and against independent implementations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from medconv.errors import ConfigError
from medconv.io import Volume, volume_from_array
from medconv.study import Condition, disturb
from medconv.transforms.augment_intensity import blur

SPACING = (1.0, 1.0, 2.0)


def volume(array: np.ndarray, spacing: tuple[float, float, float] = SPACING) -> Volume:
    return volume_from_array(array.astype(np.float32), spacing)


@pytest.fixture
def image(rng: np.random.Generator) -> Volume:
    return volume(100 + 30 * ndimage.gaussian_filter(rng.normal(size=(32, 30, 20)), 1.0))


def difference(image: Volume, condition: Condition, **options: object) -> np.ndarray:
    changed = disturb(image, condition, "a", **options)  # type: ignore[arg-type]
    assert changed.data.dtype == np.float32
    assert changed.data.shape == image.data.shape
    return changed.data.astype(np.float64) - image.data


def test_gaussian_noise_has_the_standard_deviation_that_was_asked_for(image: Volume) -> None:
    own = difference(image, Condition("noise", 0.5))
    assert own.std() == pytest.approx(0.5 * image.data.std(), rel=0.02)
    assert abs(own.mean()) < 0.02 * image.data.std()
    assert difference(image, Condition("noise", 7.0), noise_unit="image").std() == pytest.approx(
        7.0, rel=0.02
    )


def test_shot_noise_is_poisson_at_the_bright_end() -> None:
    """Variance in proportion to the value above the smallest one: that is what makes it Poisson."""
    steps = np.repeat(np.array([0.0, 50.0, 100.0, 200.0]), 20_000).reshape(4, 100, 200) - 17
    image = volume(steps)
    noise = difference(image, Condition("shot", 0.1))
    # 100 counts at the bright end, 200 above the smallest value: 2 units a count
    for step, value in zip(noise[0], (0.0, 50.0, 100.0, 200.0), strict=True):
        assert step.var() == pytest.approx(value * 200 * 0.1**2, rel=0.03)
        assert abs(step.mean()) < 0.5
    assert noise[0][3].std() / 200 == pytest.approx(0.1, rel=0.02)


def test_an_image_of_one_value_or_of_few_bright_voxels_has_its_shot_noise() -> None:
    flat = volume(np.full((8, 8, 8), 3.0))
    assert not difference(flat, Condition("shot", 0.2)).any()
    sparse = np.zeros((20, 20, 20))
    sparse[10, 10, 10] = 1000
    noise = difference(volume(sparse), Condition("shot", 0.1))[0]
    assert not noise[sparse == 0].any()
    assert abs(noise[10, 10, 10]) < 500


def test_noise_is_a_function_of_case_kind_level_and_seed_alone(image: Volume) -> None:
    two = replace(image, data=np.concatenate([image.data, image.data]))
    for kind in ("noise", "shot"):
        one = disturb(two, Condition(kind, 0.2), "a").data
        assert np.array_equal(one, disturb(two, Condition(kind, 0.2), "a").data)
        others = [
            disturb(two, Condition(kind, 0.2), "b").data,
            disturb(two, Condition(kind, 0.2), "a", seed=1).data,
            disturb(two, Condition(kind, 0.2000001), "a").data,
        ]
        assert not any(np.array_equal(one, other) for other in others)
        assert not np.array_equal(one[0], one[1])  # each channel has noise of its own


def test_a_blur_is_as_wide_in_mm_along_every_axis() -> None:
    point = np.zeros((41, 41, 41))
    point[20, 20, 20] = 1
    blurred = disturb(volume(point), Condition("blur", 3.0), "a").data[0].astype(np.float64)
    assert blurred.sum() == pytest.approx(1, rel=1e-4)
    for axis, spacing in enumerate(SPACING):
        away_mm = (np.arange(41) - 20) * spacing
        profile = blurred.sum(tuple(a for a in range(3) if a != axis))
        assert (profile * away_mm**2).sum() ** 0.5 == pytest.approx(3.0, rel=0.02)


def test_a_blur_on_cubes_is_that_of_training(image: Volume) -> None:
    cubes = volume(image.data[0], (1.0, 1.0, 1.0))
    expected = blur(torch.from_numpy(cubes.data), torch.tensor([1.5]), 6)
    np.testing.assert_allclose(disturb(cubes, Condition("blur", 1.5), "a").data, expected.numpy(), rtol=1e-4)


def test_a_slice_is_not_blurred_across_itself(rng: np.random.Generator) -> None:
    plane = rng.normal(size=(20, 22, 1))
    blurred = disturb(volume(plane), Condition("blur", 2.0), "a").data[0, ..., 0]
    np.testing.assert_allclose(
        blurred, ndimage.gaussian_filter(plane[..., 0], 2.0, mode="nearest"), atol=1e-5
    )


def test_contrast_and_gamma_keep_what_they_promise(image: Volume) -> None:
    low = disturb(image, Condition("contrast", 0.25), "a").data
    assert low.std() == pytest.approx(0.25 * image.data.std(), rel=1e-3)
    assert low.mean() == pytest.approx(image.data.mean(), rel=1e-4)
    high = disturb(image, Condition("contrast", 4.0), "a").data
    assert (high.min(), high.max()) == (image.data.min(), image.data.max())
    for power in (0.5, 2.0):
        curved = disturb(image, Condition("gamma", power), "a").data
        assert (curved.mean(), curved.std()) == pytest.approx((image.data.mean(), image.data.std()), rel=1e-3)
        order = np.argsort(image.data.ravel(), kind="stable")
        assert (np.diff(curved.ravel()[order]) >= -1e-4).all()
        assert np.abs(curved - image.data).max() > 1


@pytest.mark.parametrize(("kind", "neutral"), [("noise", 0), ("blur", 0), ("contrast", 1), ("gamma", 1)])
def test_towards_the_neutral_level_nothing_is_left(image: Volume, kind: str, neutral: float) -> None:
    assert np.abs(difference(image, Condition(kind, neutral + 1e-6))).max() < 1e-3


def test_the_image_itself_stays_as_it_is(image: Volume) -> None:
    before = image.data.copy()
    for kind in ("noise", "shot", "blur", "contrast", "gamma"):
        disturb(image, Condition(kind, 0.5), "a")
    assert np.array_equal(image.data, before)


def test_a_rotation_is_no_change_of_grey_values(image: Volume) -> None:
    with pytest.raises(ConfigError, match="expected a disturbance of grey values, got 'rotate S 45'"):
        disturb(image, Condition("rotate", 45, "S"), "a")
