from __future__ import annotations

import numpy as np
import pytest
from surface_by_brute_force import surface

from medconv.metrics.boundary import find_boundary


@pytest.mark.parametrize("shape", [(6,), (5, 7), (4, 5, 6), (1, 3, 4)], ids=str)
@pytest.mark.parametrize("margin", [1, 3])
def test_it_equals_erosion_of_every_label(
    shape: tuple[int, ...], margin: int, rng: np.random.Generator
) -> None:
    labels = rng.integers(0, 4, shape) * (rng.random(shape) < 0.9)
    found = find_boundary(labels, (margin,) * len(shape))
    for label in (1, 2, 3):
        voxels = found.voxels(found.points[found.labels == label]) - margin
        np.testing.assert_array_equal(voxels, surface(labels == label))
        assert found.count().get(label, 0) == len(voxels)


def test_only_keeps_the_wanted_labels() -> None:
    kept = find_boundary(np.array([1, 2, 3, 3]), (1,)).only({1, 3})
    assert kept.flat.tolist() == [0, 1, 0, 3, 3, 0]
    assert kept.labels.tolist() == [1, 3, 3]
