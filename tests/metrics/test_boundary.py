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


@pytest.mark.parametrize("shape", [(6,), (5, 7), (4, 5, 6), (1, 3, 4)], ids=str)
@pytest.mark.parametrize("margin", [1, 2])
def test_cut_ends_are_no_boundary(shape: tuple[int, ...], margin: int, rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, shape) * (rng.random(shape) < 0.9)
    found = find_boundary(labels.astype(np.uint8), (margin,) * len(shape), ((True, True),) * len(shape))
    for label in (1, 2, 3):
        voxels = found.voxels(found.points[found.labels == label]) - margin
        np.testing.assert_array_equal(voxels, surface(labels == label, beyond=1))
    assert np.count_nonzero(found.flat) == len(found.points)


def test_each_end_is_cut_by_itself() -> None:
    ones = np.ones(5, np.uint8)
    assert find_boundary(ones, (2,), [(True, False)]).points.tolist() == [6]
    assert find_boundary(ones, (2,), [(False, True)]).points.tolist() == [2]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("chunk", [1, 7, 1 << 19])
def test_pieces_and_number_types_make_no_difference(
    dtype: type, chunk: int, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr("medconv.metrics.boundary._CHUNK_VOXELS", chunk)
    labels = rng.integers(0, 3, (4, 5, 6)).astype(dtype)
    found = find_boundary(labels, (1, 1, 1))
    for label in (1, 2):
        voxels = found.voxels(found.points[found.labels == label]) - 1
        np.testing.assert_array_equal(voxels, surface(labels == label))


def test_values_are_told_apart_by_label() -> None:
    found = find_boundary(np.array([2, 1, 2], np.uint8), (1,))
    parts = found.by_label(np.array([0.5, 1.5, 2.5]))
    assert {label: v.tolist() for label, v in parts.items()} == {1: [1.5], 2: [0.5, 2.5]}
    assert find_boundary(np.zeros(3, np.uint8), (1,)).by_label(np.empty(0)) == {}


def test_only_keeps_the_wanted_labels() -> None:
    kept = find_boundary(np.array([1, 2, 3, 3]), (1,)).only({1, 3})
    assert kept.flat.tolist() == [0, 1, 0, 3, 3, 0]
    assert kept.labels.tolist() == [1, 3, 3]
