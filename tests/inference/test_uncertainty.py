from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from medconv.inference.uncertainty import entropy_map, normalised_entropy, region_entropy


@pytest.mark.parametrize("classes", [2, 3, 15])
def test_it_is_scipys_entropy_as_a_share_of_the_largest(rng: np.random.Generator, classes: int) -> None:
    probabilities = rng.dirichlet(np.full(classes, 0.3), (4, 5, 6)).transpose(3, 0, 1, 2)
    expected = stats.entropy(probabilities, axis=0) / np.log(classes)
    np.testing.assert_allclose(normalised_entropy(probabilities), expected, atol=1e-5)
    np.testing.assert_allclose(normalised_entropy(probabilities.astype(np.float16)), expected, atol=2e-3)


def test_certainty_is_0_indecision_1_and_rounding_leaves_neither() -> None:
    certain, even = np.array([0.0, 1.0, 0.0]), np.full(3, 1 / 3)
    probabilities = np.stack([certain, even], axis=1)[:, None].astype(np.float16)
    assert normalised_entropy(probabilities)[0].tolist() == pytest.approx([0, 1], abs=1e-3)
    assert normalised_entropy(np.full((2, 1, 1), 0.499)).max() == 1
    assert normalised_entropy(np.full((2, 1, 1), 1.001)).min() == 0


def test_of_regions_the_least_certain_counts(rng: np.random.Generator) -> None:
    regions = rng.random((3, 4, 5, 6))
    regions[:, 0, 0, :2] = [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]
    expected = stats.entropy(np.stack([regions, 1 - regions]), base=2, axis=0).max(axis=0)
    np.testing.assert_allclose(region_entropy(regions), expected, atol=1e-5)
    np.testing.assert_allclose(
        region_entropy(regions[:1]), stats.entropy([regions[0], 1 - regions[0]], base=2), atol=1e-5
    )
    assert np.array_equal(entropy_map(regions, (1, 2, 3)), region_entropy(regions))
    assert np.array_equal(entropy_map(regions), normalised_entropy(regions))
