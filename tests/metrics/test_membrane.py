"""The measures of ISBI 2012 held against pairs of pixels, loops over segments, and cases made by hand."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from itertools import product
from math import isnan, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medconv.errors import ConfigError, DatasetError, ShapeError
from medconv.metrics import (
    MEMBRANE_SCORES,
    MembraneTable,
    compare_segments,
    compare_tables,
    measure_membrane,
    read_table,
    segments_of,
)

Map = np.ndarray
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def rand_by_pairs(pred: Map, ref: Map) -> tuple[float, float, float]:
    """Every pair of pixels of the reference's segments; border pixels of the prediction stand alone."""
    pixels = np.argwhere(ref > 0)
    both = in_pred = in_ref = 0
    for a, b in product(range(len(pixels)), repeat=2):
        p, q = tuple(pixels[a]), tuple(pixels[b])
        same_pred = pred[p] == pred[q] and (pred[p] > 0 or a == b)
        same_ref = ref[p] == ref[q]
        both, in_pred, in_ref = both + (same_pred and same_ref), in_pred + same_pred, in_ref + same_ref
    return both / (in_pred / 2 + in_ref / 2), both / in_ref, both / in_pred


def info_by_loops(pred: Map, ref: Map) -> tuple[float, float, float]:
    inside = ref > 0
    truths = ref[inside]
    alone = np.arange(inside.sum()) + 10**6
    found = np.where(pred[inside] > 0, pred[inside], alone)

    def entropy(parts: list) -> float:
        return -sum(
            parts.count(part) / len(parts) * log(parts.count(part) / len(parts)) for part in set(parts)
        )

    s, t = entropy(found.tolist()), entropy(truths.tolist())
    shared = s + t - entropy(list(zip(found.tolist(), truths.tolist(), strict=True)))
    return shared / (s / 2 + t / 2) if s + t else 1.0, shared / s if s else 1.0, shared / t if t else 1.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_scores_equal_pairs_of_pixels_and_entropies_by_loops(
    seed: int, rows: int, columns: int, kinds: int
) -> None:
    rng = np.random.default_rng(seed)
    pred, ref = rng.integers(0, kinds + 1, (2, rows, columns))
    scores = compare_segments("a", pred, ref).scores
    if not (ref > 0).any():
        assert all(isnan(value) for value in scores.values())
        return
    rand = [scores[name] for name in ("v_rand", "v_rand_split", "v_rand_merge")]
    assert rand == pytest.approx(rand_by_pairs(pred, ref))
    info = [scores[name] for name in ("v_info", "v_info_split", "v_info_merge")]
    assert info == pytest.approx(info_by_loops(pred, ref), abs=1e-12)


def flood(membrane: Map) -> tuple[Map, Map]:
    """Steps through membrane to the nearest segment (-1: never), and how many segments are as near."""
    segments = segments_of(membrane, thin=False)
    steps, owners = np.where(segments > 0, 0, -1), np.empty(membrane.shape, object)
    for place in np.ndindex(membrane.shape):
        owners[place] = {int(segments[place])} - {0}
    queue = deque(map(tuple, np.argwhere(segments > 0)))
    while queue:
        here = queue.popleft()
        for step in SIDES:
            there = (here[0] + step[0], here[1] + step[1])
            if not all(0 <= a < n for a, n in zip(there, membrane.shape, strict=True)):
                continue
            if steps[there] < 0:
                steps[there], owners[there] = steps[here] + 1, set(owners[here])
                queue.append(there)
            elif steps[there] == steps[here] + 1:
                owners[there] |= owners[here]
    return steps, owners


@pytest.mark.parametrize("seed", range(6))
def test_segments_grow_to_lines_and_keep_what_they_had(seed: int) -> None:
    rng = np.random.default_rng(seed)
    membrane = rng.random((30, 34)) < 0.5
    before, after = segments_of(membrane, thin=False), segments_of(membrane, thin=True)
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    # no two segments share a side: a line lies between
    for one, other in ((after[1:], after[:-1]), (after[:, 1:], after[:, :-1])):
        assert not ((one != other) & (one > 0) & (other > 0)).any()
    # and every pixel on it has different segments, or another pixel of the line, beside it
    padded = np.pad(after, 1)
    for row, column in np.argwhere(after == 0):
        beside = {int(padded[row + 1 + r, column + 1 + c]) for r, c in SIDES} - {0}
        assert len(beside) != 1 or (padded[row : row + 3, column : column + 3] == 0).sum() > 1
    # what grew to a pixel came from a nearest segment
    steps, owners = flood(membrane)
    for place in map(tuple, np.argwhere((after > 0) & (steps == 1))):
        assert len(owners[place]) > 1 or int(after[place]) in owners[place]


def walls(width: int) -> Map:
    ref = np.zeros((21, 21), np.uint8)
    ref[10 - width // 2 : 11 + width // 2] = 1
    return ref


@pytest.mark.parametrize("width", [1, 3, 5, 9])
def test_the_thickness_of_a_membrane_is_no_error(width: int) -> None:
    (row,) = measure_membrane("a", walls(width), walls(1))
    assert (row.scores["v_rand"], row.scores["v_info"], row.threshold) == (1.0, 1.0, 0.5)
    assert (row.ref_segments, row.pred_segments, row.pixels) == (2, 2, 20 * 21)


def test_a_hole_merges_and_a_wall_too_many_splits() -> None:
    open_wall = walls(3)
    open_wall[:, 4] = 0
    (merged,) = measure_membrane("a", open_wall, walls(1))
    # one segment of n against two of n / 2: pairs together n² against n² / 2
    assert merged.scores["v_rand_split"] == 1
    assert merged.scores["v_rand_merge"] == pytest.approx(0.5)
    assert merged.scores["v_rand"] == pytest.approx(2 / 3)
    assert merged.scores["v_info"] == 0
    crossed = walls(1)
    crossed[:, 10] = 1
    (split,) = measure_membrane("a", crossed, walls(1))
    assert split.scores["v_rand_merge"] == 1
    # in each half of 210: two parts of 100 and 10 pixels that stand alone
    assert split.scores["v_rand_split"] == pytest.approx((2 * 100**2 + 10) / 210**2)


def test_all_membrane_and_none_are_the_worst_and_one_cell_is_agreement() -> None:
    nothing, everything = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    wall = np.zeros((9, 9), np.uint8)
    wall[4] = 1
    (missed,) = measure_membrane("a", nothing, wall)
    assert missed.scores["v_info"] == 0
    (drowned,) = measure_membrane("a", everything, wall)
    assert drowned.pred_segments == 0
    assert drowned.scores["v_rand_split"] == pytest.approx(72 / (2 * 36**2))
    (alone,) = measure_membrane("a", nothing, nothing)
    assert (alone.scores["v_rand"], alone.scores["v_info"]) == (1, 1)
    (none,) = measure_membrane("a", nothing, everything)
    assert all(isnan(value) for value in none.scores.values())


def blurred(seed: int) -> tuple[Map, Map]:
    rng = np.random.default_rng(seed)
    ref = np.zeros((32, 32), np.uint8)
    ref[rng.integers(8, 24)] = ref[:, rng.integers(8, 24)] = 1
    return np.clip(ref * 0.5 + rng.random(ref.shape) * 0.3, 0, 1), ref


def test_the_threshold_with_the_best_mean_is_one_for_all_images(tmp_path: Path) -> None:
    table = MembraneTable(row for s in range(5) for row in measure_membrane(f"i{s}", *blurred(s)))
    assert table.thresholds == tuple(round(0.1 * i, 1) for i in range(1, 11))
    by_hand = {
        t: np.mean([row.scores["v_rand"] for row in table.rows if row.threshold == t])
        for t in table.thresholds
    }
    summary = table.summary()
    assert summary.mean["v_rand"] == pytest.approx(max(by_hand.values()))
    assert by_hand[summary.best_thresholds["v_rand"]] == pytest.approx(max(by_hand.values()))
    assert summary.best_thresholds["v_rand_split"] == summary.best_thresholds["v_rand"]
    assert list(summary.mean) == list(MEMBRANE_SCORES)
    back = read_table(table.to_csv(tmp_path / "t.csv"))
    assert isinstance(back, MembraneTable)
    assert back.rows == table.rows
    plain = json.loads(table.to_json(tmp_path / "t.json").read_text())
    assert plain["summary"]["mean_v_info"] == summary.mean["v_info"]
    assert set(plain["summary"]["by_threshold"]) == {f"{t:g}" for t in table.thresholds}
    assert table.intervals()["v_rand"].low <= summary.mean["v_rand"] <= table.intervals()["v_rand"].high
    assert table.worst_first()[0] == min(table.columns("v_rand")[1].items(), key=lambda kv: kv[1])[0]
    found = compare_tables({"a": table, "b": back})
    assert [(f.name, f.score, f.paired.n_ties) for f in found] == [
        ("segments", "v_rand", 5),
        ("segments", "v_info", 5),
    ]
    with pytest.raises(DatasetError, match=r"case i0: measured twice"):
        MembraneTable([table.rows[0], replace(table.rows[0], pixels=3)])


def test_a_stack_is_measured_slice_by_slice() -> None:
    pairs = [blurred(s) for s in range(3)]
    stack = [np.stack(side, axis=2) for side in zip(*pairs, strict=True)]
    table = MembraneTable(measure_membrane("stack", *stack, thresholds=(0.4,)))
    single = MembraneTable(
        row for s in range(3) for row in measure_membrane(f"{s}", *pairs[s], thresholds=(0.4,))
    )
    assert [row.place for row in table.rows] == [0, 1, 2]
    assert table.summary().mean["v_rand"] == pytest.approx(single.summary().mean["v_rand"])
    assert table.summary().n_images == 1


def test_what_is_no_membrane_is_refused() -> None:
    ref = walls(1)
    with pytest.raises(
        ShapeError, match=r"of one shape \(rows, columns\) or .*got \(20, 21\) and \(21, 21\)"
    ):
        measure_membrane("a", ref[1:], ref)
    with pytest.raises(ConfigError, match="expected probabilities of membrane from 0 to 1, got 0 to 255"):
        measure_membrane("a", ref * 255.0, ref)
    with pytest.raises(ConfigError, match=r"expected thresholds from 0 to 1, got \[1\.5\]"):
        measure_membrane("a", ref * 1.0, ref, thresholds=(1.5,))
    with pytest.raises(ShapeError, match=r"expected membrane \(rows, columns\), got \(2, 2, 2\)"):
        segments_of(np.zeros((2, 2, 2), bool), thin=True)
    with pytest.raises(ShapeError, match="expected segments of one shape"):
        compare_segments("a", ref, ref[1:])
