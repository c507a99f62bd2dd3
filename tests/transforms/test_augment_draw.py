"""What is drawn: as often and as strongly as the settings say, from the keys alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medconv.errors import ConfigError
from medconv.transforms.augment_draw import INTENSITY_CHANGES, Pick, draw_picks, draw_warps, noise_seeds
from medconv.transforms.augment_settings import AugmentSettings, Chance

KEYS = np.arange(20_000)
SHAPE = (1, 40, 56, 40)
UNIT = (1.0, 1.0, 1.0)
ONLY_SCALE = AugmentSettings(rotation=0, scale=Chance(0.2, 0.7, 1.4))


def share(picks: dict[str, Pick], name: str) -> float:
    return len(picks[name].rows) / len(KEYS)


@pytest.fixture(scope="module")
def picks():
    return draw_picks(AugmentSettings(), KEYS, SHAPE)


def test_nnunet_frequencies(picks):
    expected = {
        "noise_std": 0.1,
        "blur_sigma_vox": 0.2 * 0.5,
        "brightness": 0.15,
        "contrast": 0.15,
        "resolution": 0.25 * 0.5,
        "gamma_inverted": 0.1,
        "gamma": 0.3,
        "mirror_0": 0.5,
        "mirror_1": 0.5,
        "mirror_2": 0.5,
    }
    assert set(picks) == set(expected)
    warps = draw_warps(AugmentSettings(), KEYS, SHAPE[1:], UNIT)
    assert len(warps.rows) / len(KEYS) == pytest.approx(1 - 0.8 * 0.8, abs=0.015)
    for name, probability in expected.items():
        assert share(picks, name) == pytest.approx(probability, abs=0.015), name


@pytest.mark.parametrize("name", INTENSITY_CHANGES)
def test_strengths_fill_their_range(picks, name):
    chance: Chance = getattr(AugmentSettings(), name)
    strength = picks[name].strength
    extent = chance.high - chance.low
    assert chance.low <= strength.min() <= chance.low + 0.01 * extent
    assert chance.high - 0.01 * extent <= strength.max() <= chance.high


def test_factors_darken_as_often_as_they_brighten(picks):
    gamma = picks["gamma"].strength
    assert np.mean(gamma < 1) == pytest.approx(0.5, abs=0.02)
    assert stats.kstest(gamma[gamma < 1], stats.uniform(0.7, 0.3).cdf).pvalue > 1e-3
    assert stats.kstest(gamma[gamma > 1], stats.uniform(1.0, 0.5).cdf).pvalue > 1e-3


def test_a_range_on_one_side_of_one_is_drawn_evenly():
    settings = AugmentSettings(brightness=Chance(1, 1.2, 1.4))
    strength = draw_picks(settings, KEYS, SHAPE)["brightness"].strength
    assert stats.kstest(strength, stats.uniform(1.2, 0.2).cdf).pvalue > 1e-3


def test_scales_are_even_and_the_same_along_all_axes():
    matrices = draw_warps(ONLY_SCALE, KEYS, SHAPE[1:], UNIT).strength
    scales = matrices[:, 0, 0]
    np.testing.assert_allclose(matrices, scales[:, None, None] * np.eye(3), atol=1e-6)
    assert stats.kstest(scales, stats.uniform(0.7, 0.7).cdf).pvalue > 1e-3


def test_rotation_angle_can_be_set():
    settings = AugmentSettings(rotation=1, rotation_deg=5, scale=Chance(0, 1, 1))
    matrices = draw_warps(settings, KEYS[:500], (20, 20), (1, 1)).strength
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 4.8 < angles.max() <= 5
    assert -5 <= angles.min() < -4.8


def test_channels_are_chosen_and_drawn_separately():
    settings = AugmentSettings(blur_sigma_vox=Chance(1, 0.5, 1, channel_probability=0.5))
    pick = draw_picks(settings, KEYS[:4000], (3, 8, 8, 8))["blur_sigma_vox"]
    chosen = np.zeros(4000 * 3, bool)
    chosen[pick.rows] = True
    assert chosen.mean() == pytest.approx(0.5, abs=0.02)
    by_channel = chosen.reshape(4000, 3).T.astype(float)
    assert abs(np.corrcoef(by_channel) - np.eye(3)).max() < 0.06
    assert len(np.unique(pick.strength)) > 0.99 * len(pick.strength)


def test_permuting_the_keys_permutes_the_draws():
    order = np.random.default_rng(0).permutation(200)
    straight, shuffled = (
        draw_picks(AugmentSettings(), keys, SHAPE)
        | {"warp": draw_warps(AugmentSettings(), keys, SHAPE[1:], UNIT)}
        for keys in (KEYS[:200], KEYS[:200][order])
    )
    assert set(straight) == set(shuffled)
    for name, pick in shuffled.items():
        original = order[pick.rows]
        by_row = dict(zip(straight[name].rows, straight[name].strength, strict=True))
        assert set(original) == set(by_row)
        np.testing.assert_array_equal(pick.strength, [by_row[row] for row in original])


def test_no_strength_draws_nothing():
    assert draw_picks(AugmentSettings(strength=0), KEYS, SHAPE) == {}
    assert len(draw_warps(AugmentSettings(strength=0), KEYS, SHAPE[1:], UNIT).rows) == 0


def test_mirror_axes_limit_the_flips_and_are_checked():
    picks = draw_picks(AugmentSettings(mirror_axes=(1,)), KEYS[:100], SHAPE)
    assert {name for name in picks if name.startswith("mirror")} == {"mirror_1"}
    with pytest.raises(ConfigError, match=r"expected mirror_axes among 0 to 1, got \[2\]"):
        draw_picks(AugmentSettings(mirror_axes=(2,)), KEYS[:4], (1, 8, 8))


def test_noise_seeds_differ_between_samples_and_channels():
    seeds = noise_seeds(KEYS[:50], 4, np.arange(200))
    assert len(set(seeds)) == 200
    assert noise_seeds(KEYS[7:8], 4, np.array([2])) == [seeds[7 * 4 + 2]]
