from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_iou

from medconv.errors import ShapeError
from medconv.metrics import contingency, dice, iou


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.integers(2, 6), st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_contingency_equals_counting_voxel_by_voxel(seed: int, num_classes: int, shape: list[int]) -> None:
    rng = np.random.default_rng(seed)
    pred, ref = rng.integers(0, num_classes, (2, *shape)) * (rng.random((2, *shape)) < 0.5)
    expected = np.zeros((num_classes, num_classes), int)
    for p, r in zip(pred.ravel(), ref.ravel(), strict=True):
        expected[r, p] += 1
    table = contingency(pred.astype(np.uint8), ref, num_classes)
    assert np.array_equal(table, expected)
    with np.errstate(invalid="ignore"):
        j = iou(pred, ref, num_classes)
        np.testing.assert_allclose(dice(pred, ref, num_classes), 2 * j / (1 + j))


def test_it_equals_monai(rng: np.random.Generator) -> None:
    pred, ref = rng.integers(0, 4, (2, 9, 8, 7))
    hot = [torch.nn.functional.one_hot(torch.from_numpy(m)).movedim(-1, 0)[None] for m in (pred, ref)]
    np.testing.assert_allclose(dice(pred, ref, 4), compute_dice(*hot)[0], rtol=1e-6)
    np.testing.assert_allclose(iou(pred, ref, 4), compute_iou(*hot)[0], rtol=1e-6)


def test_a_class_on_neither_side_is_nan_and_on_one_side_zero() -> None:
    pred, ref = np.array([0, 1, 1]), np.array([0, 2, 2])
    np.testing.assert_array_equal(dice(pred, ref, 4), [1, 0, 0, np.nan])
    np.testing.assert_array_equal(iou(pred, ref, 4), [1, 0, 0, np.nan])


@pytest.mark.parametrize("num_classes", [256, 257, 1000])
def test_many_classes_do_not_overflow_the_pair_number(num_classes: int) -> None:
    top = np.array([0, num_classes - 1, num_classes - 1])
    table = contingency(top, top, num_classes)
    assert table[-1, -1] == 2
    assert table.sum() == 3


def test_permuted_labels_permute_the_scores(rng: np.random.Generator) -> None:
    pred, ref = rng.integers(0, 4, (2, 9, 8, 7))
    order = np.array([2, 0, 3, 1])
    np.testing.assert_array_equal(dice(order[pred], order[ref], 4)[order], dice(pred, ref, 4))


def test_volumes_without_foreground_count_as_background() -> None:
    assert contingency(np.zeros((3, 3), int), np.zeros((3, 3), int), 2).tolist() == [[9, 0], [0, 0]]


def test_labels_outside_the_range_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected labels 0 … 1, got 0 … 2 in the prediction"):
        dice(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ShapeError, match=r"got -1 … 1 in the reference"):
        dice(np.array([1, 1]), np.array([-1, 1]), 2)
