"""Object scores held against object-by-object loops, MONAI's panoptic quality, and cases made by hand."""

from __future__ import annotations

from itertools import permutations, product
from math import isnan
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from monai.metrics import compute_panoptic_quality

from medconv.errors import ConfigError, ShapeError
from medconv.metrics import InstanceScores, instance_overlap, instance_scores, panoptic_quality, pool_scores

Objects = npt.NDArray[np.int64]


@st.composite
def maps(draw: st.DrawFn) -> tuple[Objects, Objects]:
    """Two maps of up to 6 blocky objects with numbers from anywhere; some objects in both are alike."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = tuple(draw(st.lists(st.integers(2, 9), min_size=2, max_size=3)))
    drawn = []
    for _ in range(2):
        objects = np.zeros(shape, np.int64)
        for number in rng.choice(np.array([1, 2, 3, 7, 300, 10**9]), draw(st.integers(0, 6)), replace=False):
            low = [int(rng.integers(n)) for n in shape]
            objects[tuple(slice(a, a + int(rng.integers(1, 6))) for a in low)] = number
        drawn.append(objects)
    pred, ref = drawn
    if draw(st.booleans()):
        pred = np.where(rng.random(shape) < 0.8, ref, pred)
    return pred, ref


def by_loops(pred: Objects, ref: Objects) -> npt.NDArray[np.float64]:
    """IoU of every reference object with every predicted one."""
    refs, preds = (np.unique(m[m > 0]) for m in (ref, pred))
    table = np.zeros((len(refs), len(preds)))
    for (i, r), (j, p) in product(enumerate(refs), enumerate(preds)):
        table[i, j] = ((ref == r) & (pred == p)).sum() / ((ref == r) | (pred == p)).sum()
    return table


def best_matching(table: npt.NDArray[np.float64], possible: npt.NDArray[np.bool_]) -> tuple[int, float]:
    """Most pairs, then the largest sum, over every way there is."""
    if table.shape[0] > table.shape[1]:
        table, possible = table.T, possible.T
    best = (0, 0.0)
    for columns in permutations(range(table.shape[1]), table.shape[0]):
        pairs = [(i, j) for i, j in enumerate(columns) if possible[i, j]]
        best = max(best, (len(pairs), sum(table[p] for p in pairs)))
    return best


@settings(max_examples=80)
@given(maps(), st.sampled_from([0.05, 0.3, 0.5, 0.75]), st.booleans())
def test_scores_equal_the_best_of_all_matchings(
    drawn: tuple[Objects, Objects], threshold: float, inclusive: bool
) -> None:
    table = by_loops(*drawn)
    possible = table >= threshold if inclusive else table > threshold
    found, sum_iou = best_matching(table, possible)
    scores = instance_overlap(*drawn).scores(threshold, inclusive)
    assert (scores.tp, scores.fp, scores.fn) == (found, table.shape[1] - found, table.shape[0] - found)
    assert scores.sum_iou == pytest.approx(sum_iou)


@settings(max_examples=60)
@given(maps())
def test_panoptic_quality_equals_monais(drawn: tuple[Objects, Objects]) -> None:
    pred, ref = (np.unique(m, return_inverse=True)[1].reshape(m.shape) * (m.max() > 0) for m in drawn)
    pred, ref = (m + 1 if (m == 0).sum() == 0 else m for m in (pred, ref))
    pred[0, 0], ref[0, 0] = 0, 0
    scores = panoptic_quality(pred, ref)
    if not scores.tp + scores.fp + scores.fn:
        assert isnan(scores.panoptic_quality)
        return
    pair = [torch.from_numpy(m) for m in (pred, ref)]
    expected = compute_panoptic_quality(*pair, output_confusion_matrix=True).tolist()
    found = [scores.tp, scores.fp, scores.fn, scores.sum_iou]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@settings(max_examples=60)
@given(maps())
def test_the_aggregated_jaccard_equals_loops(drawn: tuple[Objects, Objects]) -> None:
    pred, ref = drawn
    refs, preds = (np.unique(m[m > 0]) for m in (ref, pred))
    table, used, shared, union = by_loops(pred, ref), set(), 0, 0
    for i, r in enumerate(refs):
        if len(preds) and table[i].max() > 0:
            p = preds[table[i].argmax()]
            used.add(p)
            shared, union = (
                shared + ((ref == r) & (pred == p)).sum(),
                union + ((ref == r) | (pred == p)).sum(),
            )
        else:
            union += (ref == r).sum()
    union += sum((pred == p).sum() for p in preds if p not in used)
    aji = instance_overlap(pred, ref).aggregated_jaccard()
    assert isnan(aji) if union == 0 else aji == pytest.approx(shared / union)
    if union:
        assert 0 <= instance_overlap(pred, ref).aggregated_jaccard(one_to_one=True) <= 1


@settings(max_examples=40)
@given(maps(), st.integers(0, 2**32))
def test_numbers_order_and_flips_make_no_difference(drawn: tuple[Objects, Objects], seed: int) -> None:
    pred, ref = drawn

    def figures(p: Objects, r: Objects) -> list[float]:
        o = instance_overlap(p, r)
        scores = [o.scores(t) for t in (0.3, 0.5, 0.8)]
        return [
            *(v for s in scores for v in (s.tp, s.fp, s.fn, s.sum_iou)),
            o.aggregated_jaccard(one_to_one=True),
            o.count_splits(),
            o.count_merges(),
        ]

    expected = figures(pred, ref)
    other = np.random.default_rng(seed).permutation(np.unique(pred[pred > 0])) + 5
    renamed = np.zeros_like(pred)
    for old, new in zip(np.unique(pred[pred > 0]), other, strict=True):
        renamed[pred == old] = new
    np.testing.assert_allclose(figures(renamed, ref), expected)
    np.testing.assert_allclose(figures(pred[::-1], ref[::-1]), expected)
    swapped = instance_overlap(ref, pred)
    assert (swapped.count_splits(), swapped.count_merges()) == (expected[-1], expected[-2])
    assert swapped.scores(0.5).f1 == pytest.approx(instance_overlap(pred, ref).scores(0.5).f1, nan_ok=True)


def test_g11_an_overlap_of_exactly_one_half() -> None:
    ref, pred = np.zeros((2, 4, 8), int)
    ref[1:3, 1:5], pred[1:3, 1:3], pred[1:3, 3:5] = 1, 1, 2
    overlap = instance_overlap(pred, ref)
    assert overlap.iou.tolist() == [0.5, 0.5]
    strict, inclusive = overlap.scores(0.5, inclusive=False), overlap.scores(0.5)
    assert (strict.tp, strict.fp, strict.fn, strict.panoptic_quality) == (0, 2, 1, 0)
    assert (inclusive.tp, inclusive.fp, inclusive.fn, inclusive.average_precision) == (1, 1, 0, 0.5)


def test_below_one_half_as_many_pairs_as_can_be() -> None:
    # taking the largest overlap first would leave the second reference object without a partner
    ref = np.array([1] * 6 + [2] * 4 + [0] * 3)
    pred = np.array([8] * 3 + [9] * 10)
    overlap = instance_overlap(pred, ref)
    assert dict(zip(zip(overlap.ref_index, overlap.pred_index, strict=True), overlap.iou, strict=True)) == {
        (0, 0): 0.5,
        (0, 1): 3 / 13,
        (1, 1): 0.4,
    }
    assert overlap.scores(0.2).tp == 2


def test_splits_and_merges() -> None:
    ref = np.array([[1, 1, 1, 1, 1, 1, 0, 2, 2, 0, 3, 3, 3]])
    pred = np.array([[1, 1, 2, 2, 3, 3, 0, 4, 4, 4, 4, 4, 4]])
    overlap = instance_overlap(pred, ref)
    assert (overlap.count_splits(), overlap.count_merges()) == (2, 1)
    perfect = instance_overlap(ref, ref)
    assert (perfect.count_splits(), perfect.count_merges()) == (0, 0)
    assert perfect.aggregated_jaccard() == perfect.scores(1).panoptic_quality == 1


def test_images_without_objects() -> None:
    nothing, something = np.zeros((4, 4), int), np.eye(4, dtype=int)
    both, missed, invented = (
        instance_overlap(*p) for p in ((nothing, nothing), (nothing, something), (something, nothing))
    )
    assert isnan(both.scores(0.5).f1)
    assert isnan(both.aggregated_jaccard())
    for overlap, counts in ((missed, (0, 0, 1)), (invented, (0, 1, 0))):
        s = overlap.scores(0.5)
        assert (s.tp, s.fp, s.fn) == counts
        assert s.average_precision == s.f1 == s.panoptic_quality == overlap.aggregated_jaccard() == 0
        assert isnan(s.segmentation_quality)
    assert isnan(missed.scores(0.5).precision)
    assert missed.scores(0.5).recall == 0


def test_a_map_without_background_loses_no_object() -> None:
    full = np.array([[4, 4], [9, 9]])
    assert panoptic_quality(full, full) == InstanceScores(2, 0, 0, 2.0)


def test_many_objects_take_the_sparse_way(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    pred, ref = rng.integers(0, 50, (2, 40, 40)).repeat(3, axis=1)
    dense = instance_overlap(pred, ref)
    monkeypatch.setattr("medconv.metrics.instance._DENSE_PAIRS", 0)
    sparse = instance_overlap(pred, ref)
    for name in ("ref_sizes", "pred_sizes", "ref_index", "pred_index", "shared"):
        np.testing.assert_array_equal(getattr(dense, name), getattr(sparse, name))


def test_pooling_and_averaging_are_different_figures() -> None:
    images = [InstanceScores(9, 1, 0, 8.0), InstanceScores(0, 0, 1, 0.0)]
    assert pool_scores(images).average_precision == pytest.approx(9 / 11)
    assert np.mean([s.average_precision for s in images]) == pytest.approx(0.45)


def test_every_threshold_comes_from_one_pass() -> None:
    ref = np.kron(np.arange(1, 5).reshape(2, 2), np.ones((10, 10), int))
    pred = np.roll(ref, 1, axis=0)
    found = instance_scores(pred, ref)
    assert list(found) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    # each object of 10 rows loses one
    assert [s.tp for s in found.values()] == [4] * 7 + [0] * 3


def test_misuse_is_refused() -> None:
    ones = np.ones((3, 3), int)
    with pytest.raises(ShapeError, match="expected object numbers from 0 in the reference, got -1"):
        instance_overlap(ones, -ones)
    with pytest.raises(ShapeError, match="of one shape"):
        instance_overlap(ones, ones[:2])
    with pytest.raises(ConfigError, match=r"expected a threshold of the IoU from 0 to 1, got 1\.5"):
        instance_overlap(ones, ones).scores(1.5)


def test_real_nuclei_equal_monai(real_data: Path) -> None:
    files = sorted((real_data / "nuclei" / "labels").glob("*.png"))[:4]
    if not files:
        pytest.skip("no nuclei here")
    for file in files:
        picture = (imread(file) * 65535).round().astype(np.int64)
        ref = np.unique(picture[..., 0] if picture.ndim == 3 else picture, return_inverse=True)[1]
        ref = ref.reshape(picture.shape[:2])
        pred = np.roll(ref, (2, 1), axis=(0, 1))
        pair = [torch.from_numpy(m) for m in (pred, ref)]
        expected = compute_panoptic_quality(*pair, output_confusion_matrix=True).tolist()
        scores = panoptic_quality(pred, ref)
        np.testing.assert_allclose([scores.tp, scores.fp, scores.fn, scores.sum_iou], expected, rtol=1e-6)
