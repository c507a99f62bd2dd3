"""Tables of objects held against sums by hand, loops over images, and a bootstrap written out."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch

from medconv.errors import ConfigError, DatasetError, ShapeError, UnknownNameError
from medconv.metrics import (
    INSTANCE_SCORES,
    InstanceRow,
    InstanceSegmentationTable,
    InstanceTable,
    compare_tables,
    instance_overlap,
    instance_scores,
    measure_instances,
    panoptic_quality,
    pool_scores,
)
from medconv.metrics.objects import number_objects
from medconv.metrics.scores import THRESHOLDS

Pair = tuple[np.ndarray, np.ndarray]


def image(seed: int, shape: tuple[int, ...] = (24, 30)) -> Pair:
    """Blocks with numbers from anywhere, and a prediction that is the reference with some of it lost or moved."""
    rng = np.random.default_rng(seed)
    ref = np.zeros(shape, np.int64)
    for number in rng.choice([1, 2, 3, 7, 300, 70_000, 10**9], rng.integers(1, 7), replace=False):
        low = [int(rng.integers(n)) for n in shape]
        ref[tuple(slice(a, a + int(rng.integers(2, 9))) for a in low)] = number
    pred = np.where(rng.random(shape) < 0.9, np.roll(ref, int(rng.integers(3)), 0), 0)
    return pred, ref


def table(seeds: range = range(8)) -> InstanceTable:
    return InstanceTable(measure_instances(f"image_{seed}", *image(seed)) for seed in seeds)


@pytest.mark.parametrize("seed", range(6))
def test_scores_of_a_row_are_those_of_the_functions(seed: int) -> None:
    pred, ref = image(seed)
    row, overlap = measure_instances("a", pred, ref), instance_overlap(pred, ref)
    found = instance_scores(pred, ref)
    for t in THRESHOLDS:
        assert row.scores[f"ap_{100 * t:.0f}"] == pytest.approx(found[t].average_precision)
        assert row.scores[f"f1_{100 * t:.0f}"] == pytest.approx(found[t].f1)
    assert row.scores["ap"] == pytest.approx(np.mean([s.average_precision for s in found.values()]))
    strict = panoptic_quality(pred, ref)
    expected = (strict.panoptic_quality, strict.segmentation_quality, strict.f1)
    np.testing.assert_allclose([row.scores[n] for n in ("pq", "sq", "rq")], expected)
    assert row.scores["aji"] == pytest.approx(overlap.aggregated_jaccard())
    both = (pred > 0) & (ref > 0)
    dice = 2 * both.sum() / ((pred > 0).sum() + (ref > 0).sum())
    assert row.scores["foreground_dice"] == pytest.approx(dice)
    assert (row.splits, row.merges) == (overlap.count_splits(), overlap.count_merges())


def test_numbers_need_not_be_consecutive_nor_small() -> None:
    pred, ref = image(3)
    numbers, places = number_objects(ref)
    assert numbers.max() > 65_535
    np.testing.assert_array_equal(np.append(0, numbers)[places], ref)
    renamed = measure_instances("a", pred, places)
    assert renamed == measure_instances("a", pred, ref)
    assert measure_instances("a", ref > 0, ref > 0).ref_objects == 1


def test_pooled_counts_objects_and_the_mean_counts_images() -> None:
    crowd = np.arange(1, 10)[None].repeat(2, 0)
    alone = np.array([[1, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0]])
    rows = [measure_instances("crowd", crowd, crowd), measure_instances("alone", alone * 0, alone)]
    summary = InstanceTable(rows).summary()
    assert (summary.mean["ap_50"], summary.pooled["ap_50"]) == (0.5, 0.9)
    assert (summary.found, summary.missed, summary.invented) == (9, 1, 0)
    assert (summary.n_images, summary.n_empty_prediction, summary.n_empty_reference) == (2, 1, 0)
    pooled = pool_scores(panoptic_quality(*pair) for pair in ((crowd, crowd), (alone * 0, alone)))
    assert summary.pooled["pq"] == pytest.approx(pooled.panoptic_quality)


def test_what_is_missed_or_invented_scores_0_and_nothing_at_all_has_no_score() -> None:
    some, none = np.array([[1, 1, 0, 2]]), np.zeros((1, 4), int)
    missed, invented, empty = (
        measure_instances(*args) for args in (("m", none, some), ("i", some, none), ("e", none, none))
    )
    for name in ("ap", "ap_50", "f1_75", "pq", "aji", "foreground_dice"):
        assert (missed.scores[name], invented.scores[name]) == (0, 0)
        assert isnan(empty.scores[name])
    assert isnan(missed.scores["sq"])
    whole = InstanceTable([missed, invented, empty, measure_instances("p", some, some)]).summary()
    assert whole.mean["ap_50"] == pytest.approx(1 / 3)
    assert (whole.n_both_empty, whole.n_empty_prediction, whole.n_empty_reference) == (1, 1, 1)
    nothing = InstanceTable([empty])
    assert isnan(nothing.summary().mean["ap"])
    assert isnan(nothing.summary().pooled["ap"])
    assert isnan(nothing.intervals()["mean", "ap"].low)
    assert InstanceTable([]).intervals() == {}
    assert isnan(InstanceTable([]).summary().pooled["pq"])


def test_ignored_voxels_are_in_no_count() -> None:
    pred, ref = image(5)
    drawn = np.random.default_rng(0).random(ref.shape) < 0.2
    marked = np.where(drawn, 255, ref)
    row = measure_instances("a", pred, marked, ignore_label=255)
    expected = measure_instances("a", np.where(drawn, 0, pred), np.where(drawn, 0, ref))
    assert replace(row, ignored_voxels=0, image_voxels=ref.size) == expected
    assert (row.ignored_voxels, row.image_voxels) == (drawn.sum(), ref.size - drawn.sum())
    other = np.where(drawn, np.random.default_rng(1).integers(0, 9, ref.shape), pred)
    assert measure_instances("a", other, marked, ignore_label=255) == row
    with pytest.raises(ConfigError, match="expected an ignore label other than 0, which is the background"):
        measure_instances("a", pred, ref, ignore_label=0)


def test_stacks_and_images_of_one_slice_count_alike() -> None:
    pred, ref = image(1)
    assert measure_instances("a", pred[..., None], ref[..., None]) == measure_instances("a", pred, ref)
    deep = image(2, (9, 10, 11))
    assert measure_instances("a", *deep).ref_objects == len(np.unique(deep[1])) - 1


def test_a_file_holds_counts_in_full_and_scores_for_people(tmp_path: Path) -> None:
    whole = table()
    path = whole.to_csv(tmp_path / "new/table.csv")
    back = InstanceTable.from_csv(path)
    assert back.rows == whole.rows
    header = path.read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)
    assert {"case_id", "tp", *INSTANCE_SCORES} <= set(header)
    plain = json.loads(whole.to_json(tmp_path / "table.json", {"x": "why"}).read_text())
    assert plain["not_measured"] == {"x": "why"}
    assert plain["summary"]["pooled_pq"] == whole.summary().pooled["pq"]
    assert plain["rows"][0]["ap_50"] == whole.rows[0].scores["ap_50"]
    assert set(plain["intervals_95"]) >= {"mean_ap_50", "pooled_ap_50"}
    with pytest.raises(DatasetError, match=r"none\.csv: .*No such file"):
        InstanceTable.from_csv(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"with the columns case_id, ref_objects, .*it has none of them"):
        InstanceTable.from_csv(tmp_path / "other.csv")


def test_rows_are_kept_once_and_in_order() -> None:
    rows = list(table().rows)
    assert InstanceTable([*rows[::-1], *rows]).rows == tuple(rows)
    assert repr(InstanceTable(rows)).startswith("InstanceTable(8 images, ")
    assert InstanceTable(rows).of_cases(["image_2", "x"]).case_ids == ("image_2",)
    assert len(InstanceTable(rows).of_labels([2])) == 0
    with pytest.raises(
        DatasetError, match=r"case image_0: measured twice with different results, splits 0 and 9"
    ):
        InstanceTable([replace(rows[0], splits=0), replace(rows[0], splits=9)])


def test_intervals_draw_images_and_pool_what_was_drawn() -> None:
    whole = table()
    found = whole.intervals(["ap_50", "pq", "splits"], resamples=400, seed=3)
    rng = np.random.default_rng(3)
    draws = rng.integers(8, size=(400, 8))
    rows = list(whole.rows)
    again = [
        InstanceTable([replace(rows[i], case_id=str(k)) for k, i in enumerate(d)]).summary() for d in draws
    ]
    for over in ("mean", "pooled"):
        for name in ("ap_50", "pq", "splits"):
            values = np.array([getattr(summary, over)[name] for summary in again])
            low, high = np.quantile(values, ((1 - 0.95) / 2, 1 - (1 - 0.95) / 2), method="inverted_cdf")
            assert (found[over, name].low, found[over, name].high) == pytest.approx((low, high))  # type: ignore[index]
    with pytest.raises(UnknownNameError, match="no score 'ap50'; did you mean 'ap_50'"):
        whole.intervals(["ap50"])


def test_the_worst_image_is_first_and_one_without_objects_last() -> None:
    some, none = np.array([[1, 1, 0, 2]]), np.zeros((1, 4), int)
    rows = [
        measure_instances("all", some, some),
        measure_instances("half", np.array([[1, 1, 0, 0]]), some),
        measure_instances("lost", none, some),
        measure_instances("nothing", none, none),
        measure_instances("one lost", none, np.array([[1, 1, 0, 0]])),
    ]
    assert InstanceTable(rows).worst_first() == ["lost", "one lost", "half", "all", "nothing"]


def test_tables_of_objects_are_compared() -> None:
    good = InstanceTable(measure_instances(f"{s}", image(s)[1], image(s)[1]) for s in range(8))
    bad = InstanceTable(measure_instances(f"{s}", *image(s)) for s in range(8))
    found = compare_tables({"bad": bad, "good": good})
    assert [(f.name, f.score) for f in found] == [("objects", s) for s in ("ap", "ap_50", "pq")]
    assert {f.verdict for f in found} == {"better"}
    before = np.mean([row.scores["ap"] for row in bad.rows])
    assert found[0].paired.mean_difference == pytest.approx(1 - before)
    (splits,) = compare_tables({"good": good, "bad": bad}, ["splits"])
    assert splits.verdict in ("worse", "no difference shown")
    with pytest.raises(UnknownNameError, match="no score 'dice'"):
        compare_tables({"bad": bad, "good": good}, ["dice"])


def share(seeds: list[int]) -> InstanceSegmentationTable:
    metric = InstanceSegmentationTable()
    for seed in seeds:
        metric.add(f"image_{seed}", *(torch.from_numpy(m) for m in image(seed)))
    return metric


def test_a_gathering_of_any_kind_gives_the_table_of_one() -> None:
    """Uneven, one idle, one image padded: as torchmetrics gathers the states."""
    metrics = [share(seeds) for seeds in ([0, 1, 2], [], [3, 4, 0])]
    for metric in metrics:
        others = [other for other in metrics if other is not metric]

        def gather(chunk: object, group: object = None, others: list = others) -> list:
            empty = torch.empty(0, dtype=torch.uint8)
            return [*(torch.cat([*other.written, empty]) for other in others), chunk]

        metric.dist_sync_fn, metric.distributed_available_fn = gather, lambda: True
        assert metric.compute().csv_text() == share([0, 1, 2, 3, 4]).compute().csv_text()


def test_the_metric_takes_batches_and_rows_from_elsewhere() -> None:
    metric = InstanceSegmentationTable(ignore_label=9)
    pred, ref = image(0)
    metric.update(["a", "b"], [pred, pred], [ref, ref])
    metric.merge([measure_instances("c", pred, ref)])
    assert [row.case_id for row in metric.rows] == ["a", "b", "c"]
    assert metric.summary().n_images == 3
    assert metric.half().compute().rows == metric.rows  # type: ignore[no-untyped-call]
    metric.reset()
    assert len(metric.compute()) == 0
    with pytest.raises(ShapeError, match=r"as many predictions and references as case ids, got \[2, 1, 1\]"):
        metric.update(["a", "b"], [pred], [ref])
    with pytest.raises(ShapeError, match="expected integer or boolean labels"):
        metric.add("a", pred.astype(np.float32), ref)
    with pytest.raises(ShapeError, match="of one shape"):
        metric.add("a", pred[:-1], ref)


def test_a_row_says_every_field_with_its_type() -> None:
    assert set(InstanceRow.__annotations__.values()) <= {"str", "int", "float", "tuple[int, ...]"}
