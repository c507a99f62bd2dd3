"""Settings refuse what cannot be drawn and say what was expected."""

from __future__ import annotations

import pytest

from medconv.errors import ConfigError
from medconv.transforms.augment_settings import AugmentSettings, Chance


def test_strength_multiplies_probabilities_and_stops_at_one():
    assert AugmentSettings(strength=0.5).chance_of(0.3) == pytest.approx(0.15)
    assert AugmentSettings(strength=10).chance_of(0.3) == 1.0
    assert AugmentSettings(strength=0).chance_of(1.0) == 0.0


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Chance(1.5, 0, 1), "expected a probability between 0 and 1, got 1.5"),
        (lambda: Chance(0.5, 0, 1, channel_probability=-1), "channel_probability between 0 and 1, got -1"),
        (lambda: Chance(0.5, 2, 1), "expected low <= high, got low 2 and high 1"),
        (lambda: AugmentSettings(strength=-1), "expected strength >= 0, got -1"),
        (lambda: AugmentSettings(rotation=2), "expected a rotation between 0 and 1, got 2"),
        (lambda: AugmentSettings(mirror=-0.1), "expected a mirror between 0 and 1, got -0.1"),
        (lambda: AugmentSettings(gamma=Chance(0.1, 0, 1)), r"expected gamma\.low > 0, got 0"),
        (lambda: AugmentSettings(resolution=Chance(0.1, 0.5, 2)), r"expected resolution\.high <= 1, got 2"),
    ],
)
def test_numbers_outside_their_range_are_refused(build, text):
    with pytest.raises(ConfigError, match=text):
        build()
