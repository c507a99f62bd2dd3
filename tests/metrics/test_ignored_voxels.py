"""Voxels that nobody labelled: in no figure, whatever is predicted there, and with no surface along them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from medconv.errors import ConfigError, DatasetError
from medconv.metrics import SegmentationTable, Structures, SurfaceConvention, measure_case

IGNORED = 9
NAMES = {1: "head", 2: "tail"}
SURFEL = SurfaceConvention("surfel")
CUT = SurfaceConvention(edge="ignore")


def scene(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    ref, pred = rng.integers(0, 3, (2, *shape)).astype(np.uint8)
    blocks = tuple(slice(0, max(1, n // 2)) for n in shape)
    ref[blocks], pred[blocks] = 1, 1
    ref[rng.random(shape) < 0.25] = IGNORED
    return pred, ref, tuple(rng.uniform(0.4, 3, len(shape)))


def surface_by_loops(labels: np.ndarray, known: np.ndarray, label: int) -> np.ndarray:
    found = []
    for voxel in product(*map(range, labels.shape)):
        if not known[voxel] or labels[voxel] != label:
            continue
        for axis, step in product(range(labels.ndim), (-1, 1)):
            beside = list(voxel)
            beside[axis] += step
            is_outside = not 0 <= beside[axis] < labels.shape[axis]
            if is_outside or (known[tuple(beside)] and labels[tuple(beside)] != label):
                found.append(voxel)
                break
    return np.array(found).reshape(-1, labels.ndim)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(2, 6), min_size=1, max_size=3))
def test_counts_and_distances_equal_loops_over_known_voxels(seed: int, size: list[int]) -> None:
    pred, ref, spacing = scene(seed, tuple(size))
    known = ref != IGNORED
    for row in measure_case("a", pred, ref, spacing, NAMES, 1.0, ignore_label=IGNORED):
        p, r = known & (pred == row.label), known & (ref == row.label)
        counts = ((p & r).sum(), r.sum(), p.sum(), known.sum(), (~known).sum())
        found = (row.tp_voxels, row.ref_voxels, row.pred_voxels, row.image_voxels, row.ignored_voxels)
        assert found == counts
        if p.any() or r.any():
            assert row.dice == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
        here, there = (surface_by_loops(m, known, row.label) * spacing for m in (pred, ref))
        if len(here) and len(there) and p.any() and r.any():
            table = cdist(here, there)
            forth, back = table.min(axis=1), table.min(axis=0)
            assert row.hd_mm == pytest.approx(max(forth.max(), back.max()))
            assert row.assd_mm == pytest.approx((forth.sum() + back.sum()) / (len(forth) + len(back)))
            near = (forth <= 1 + 1e-6).sum() + (back <= 1 + 1e-6).sum()
            assert row.nsd == pytest.approx(near / (len(forth) + len(back)))


@pytest.mark.parametrize("convention", [SurfaceConvention(), SURFEL, CUT], ids=lambda c: c.short)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_predicted_where_nobody_knows_changes_nothing(
    seed: int, convention: SurfaceConvention
) -> None:
    pred, ref, spacing = scene(seed, (9, 8, 7))
    other = np.where(ref == IGNORED, np.random.default_rng(1).choice([0, 1, 2, IGNORED], ref.shape), pred)
    first, second = (
        measure_case("a", p, ref, spacing, NAMES, 1.0, convention, ignore_label=IGNORED)
        for p in (pred, other)
    )
    assert repr(first) == repr(second)


@pytest.mark.parametrize("surface", ["voxel", "surfel"])
def test_an_end_that_is_ignored_is_an_end_that_is_cut_off(surface: str) -> None:
    convention = SurfaceConvention(surface, edge="ignore")  # type: ignore[arg-type]
    rng = np.random.default_rng(5)
    ref = np.zeros((12, 10, 9), np.uint8)
    ref[3:11, 2:8, 2:7] = 1
    ref[5:9, 3:6, 3:5] = 2
    pred = np.where(rng.random(ref.shape) < 0.9, np.roll(ref, 1, 1), 0).astype(np.uint8)
    marked = ref.copy()
    marked[8:] = IGNORED
    whole = measure_case("a", pred, marked, (1, 0.5, 2), NAMES, 1.0, convention, ignore_label=IGNORED)
    part = measure_case("a", pred[:8], ref[:8], (1, 0.5, 2), NAMES, 1.0, convention)
    for row, cut in zip(whole, part, strict=True):
        expected = replace(cut, diagonal_mm=row.diagonal_mm, ignored_voxels=4 * 90)
        assert not row.contradictions(expected)


def test_without_ignored_voxels_nothing_is_different() -> None:
    pred, ref, spacing = scene(3, (8, 8))
    ref = np.where(ref == IGNORED, 0, ref)
    plain = measure_case("a", pred, ref, spacing, NAMES)
    assert repr(measure_case("a", pred, ref, spacing, NAMES, ignore_label=IGNORED)) == repr(plain)


def test_multiplying_away_would_invent_agreement() -> None:
    """Why the border is no surface: cut by the same unknown voxels, both sides would agree there by themselves."""
    ref = np.zeros((20, 20), np.uint8)
    ref[5:15, 5:15] = 1
    pred = np.roll(ref, 2, 0)
    marked = ref.copy()
    marked[:, 10:] = IGNORED
    (row,) = measure_case("a", pred, marked, 1, {1: "x"}, 1.0, ignore_label=IGNORED)
    known = marked != IGNORED
    (naive,) = measure_case("a", pred * known, marked * known, 1, {1: "x"}, 1.0)
    assert naive.nsd > row.nsd
    assert naive.assd_mm < row.assd_mm
    assert naive.dice == row.dice


def test_regions_are_unions_of_what_is_known() -> None:
    pred, ref, spacing = scene(7, (8, 7, 6))
    structures = Structures(NAMES, {"whole": (1, 2)}, ignore_label=IGNORED)
    region = structures.measure("a", pred, ref, spacing)[-1]
    union = np.where(ref == IGNORED, IGNORED, (ref > 0).astype(np.uint8))
    (row,) = measure_case("a", (pred > 0).view(np.uint8), union, spacing, {1: "whole"}, ignore_label=IGNORED)
    assert not region.contradictions(replace(row, label=-1))


def test_a_table_keeps_what_was_ignored() -> None:
    pred, ref, spacing = scene(2, (8, 8))
    table = SegmentationTable(NAMES, ignore_label=IGNORED)
    table.add("a", pred, ref, spacing)
    assert {row.ignored_voxels for row in table.compute().rows} == {int((ref == IGNORED).sum())}


def test_labels_that_are_wrong_are_named() -> None:
    pred, ref, spacing = scene(2, (8, 8))
    with pytest.raises(
        ConfigError, match=r"expected an ignore label above 0 that is none of \{1: 'head'.*got 2"
    ):
        measure_case("a", pred, ref, spacing, NAMES, ignore_label=2)
    with pytest.raises(ConfigError, match="expected an ignore label above 0"):
        Structures(NAMES, ignore_label=0)
    with pytest.raises(DatasetError, match=r"expected labels \[0, 1, 2\] in the prediction, got also \[3\]"):
        measure_case("a", np.where(ref == 0, 3, pred), ref, spacing, NAMES, ignore_label=IGNORED)
    with pytest.raises(DatasetError, match=r"in the prediction, got also \[9\]"):
        measure_case("a", np.full_like(pred, 9), ref, spacing, NAMES, ignore_label=IGNORED)
