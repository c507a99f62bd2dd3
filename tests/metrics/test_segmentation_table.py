from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from medconv.errors import ConfigError, DatasetError, GeometryError, ShapeError
from medconv.metrics import (
    CaseRow,
    CaseTable,
    SegmentationTable,
    SurfaceConvention,
    dice,
    hausdorff_mm,
    measure_case,
    surface_distances,
)

NAMES = {0: "background", 1: "head", 2: "tail", 5: "other"}
LabelMap = npt.NDArray[np.uint8]


def case(seed: int) -> tuple[LabelMap, LabelMap, tuple[float, ...]]:
    """A prediction and a reference; now and then a structure is missing on either side."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(8, 14, 3))
    maps = []
    for _ in range(2):
        labels = np.zeros(shape, np.uint8)
        for label in (1, 2, 5):
            if rng.random() < 0.8:
                low = rng.integers(0, 5, 3)
                labels[tuple(slice(a, a + 4) for a in low)] = label
        maps.append(labels)
    return maps[0], maps[1], tuple(rng.choice([0.7, 1.0, 2.5], 3))


def measured(seeds: list[int]) -> SegmentationTable:
    table = SegmentationTable(NAMES)
    for seed in seeds:
        table.add(f"case_{seed:03}", *case(seed))
    return table


def test_each_row_holds_what_the_functions_give() -> None:
    tolerances_mm = {1: 0.0, 2: 0.7, 5: 2.5}
    table = SegmentationTable(NAMES, tolerances_mm=tolerances_mm)
    for seed in range(6):
        table.add(f"case_{seed:03}", *case(seed))
    assert len(table.rows) == 18
    for row in table.rows:
        pred, ref, spacing_mm = case(int(row.case_id[-3:]))
        pair = (pred == row.label, ref == row.label)
        expected = (
            dice(pred, ref, 6)[row.label],
            hausdorff_mm(*pair, spacing_mm),
            hausdorff_mm(*pair, spacing_mm, percentile=95),
        )
        np.testing.assert_array_equal((row.dice, row.hd_mm, row.hd95_mm), expected)
        distances, tolerance_mm = surface_distances(*pair, spacing_mm), tolerances_mm[row.label]
        np.testing.assert_array_equal(
            (row.assd_mm, row.masd_mm, row.nsd, row.nsd_tolerance_mm),
            (distances.assd_mm(), distances.masd_mm(), distances.within(tolerance_mm), tolerance_mm),
        )
        with np.errstate(invalid="ignore"):
            both, p, r = np.float64((pair[0] & pair[1]).sum()), pair[0].sum(), pair[1].sum()
            counted = (both / (p + r - both), both / r, both / p)
        np.testing.assert_allclose((row.iou, row.sensitivity, row.precision), counted, rtol=1e-12)
        assert row.volume_difference_ml == pytest.approx(row.pred_volume_ml - row.ref_volume_ml)
        assert (row.pred_empty, row.ref_empty) == (not pair[0].any(), not pair[1].any())
        assert row.ref_volume_ml == pytest.approx(pair[1].sum() * np.prod(spacing_mm) / 1000)
        assert row.pred_volume_ml == pytest.approx(pair[0].sum() * np.prod(spacing_mm) / 1000)
        corner = np.multiply(np.array(ref.shape) - 1, spacing_mm)
        assert row.diagonal_mm == pytest.approx(np.linalg.norm(corner))
        assert row.name == NAMES[row.label]


def test_a_label_without_a_tolerance_has_no_nsd() -> None:
    rows = measure_case("a", *case(0), NAMES, tolerances_mm={5: 0.5})
    assert [r.label for r in rows if np.isnan(r.nsd_tolerance_mm)] == [1, 2]
    assert all(np.isnan(r.nsd) for r in rows[:2])
    assert rows[2].nsd_tolerance_mm == 0.5


def test_tolerances_that_do_not_fit_are_refused() -> None:
    for wrong in (-1, np.nan, np.inf, {1: -0.5}):
        with pytest.raises(ConfigError, match=r"expected tolerances_mm of 0 mm or more, got \{1: "):
            SegmentationTable({1: "organ"}, tolerances_mm=wrong)
    with pytest.raises(ConfigError, match=r"tolerances_mm names labels \[0, 3\], which are not among"):
        measure_case("a", *case(0), NAMES, tolerances_mm={0: 1, 3: 1})


def test_rows_are_plain_values() -> None:
    for row in measured([0, 1]).rows:
        assert {type(v) for v in vars(row).values()} == {str, int, float, bool, tuple}
        assert {type(v) for v in row.spacing_mm} == {float}


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_any_sharding_with_repeated_cases_and_an_idle_process_gives_the_same_table(
    ranks: int, tmp_path: Path
) -> None:
    cases = list(range(7))
    expected = measured(cases)
    padded = cases + cases[: -len(cases) % ranks]
    shards = [measured(padded[rank::ranks]) for rank in range(ranks)] + [SegmentationTable(NAMES)]
    random.Random(ranks).shuffle(shards)
    merged = SegmentationTable(NAMES)
    for shard in shards:
        merged.merge(shard.rows)
    assert repr(merged.summary()) == repr(expected.summary())
    files = [t.compute().to_csv(tmp_path / f"{i}.csv").read_bytes() for i, t in enumerate((merged, expected))]
    assert files[0] == files[1]


@pytest.mark.parametrize("seed", range(8))
def test_predicting_nothing_is_the_worst_score(seed: int) -> None:
    pred, ref, spacing_mm = case(seed)
    nothing = np.zeros_like(ref)
    for other in (pred, np.roll(ref, 3, 0), np.full_like(ref, 1), np.where(ref > 0, 0, 1).astype(np.uint8)):
        worst, better = SegmentationTable(NAMES), SegmentationTable(NAMES)
        worst.add("a", nothing, ref, spacing_mm)
        better.add("a", other, ref, spacing_mm)
        for low, high in zip(worst.summary().labels, better.summary().labels, strict=True):
            if low.n_missed:
                assert low.mean_dice == 0 <= high.mean_dice
                assert low.mean_hd_mm >= high.mean_hd_mm
                assert low.mean_hd95_mm >= high.mean_hd95_mm


def test_a_perfect_prediction_is_the_best_score() -> None:
    _, ref, spacing_mm = case(0)
    table = SegmentationTable(NAMES)
    table.add("a", ref, ref, spacing_mm)
    summary = table.summary()
    assert summary.class_first_mean_dice == 1
    assert summary.class_first_mean_hd_mm == 0


def test_empties_are_stored_as_they_are_and_weighed_in_the_summary(tmp_path: Path) -> None:
    ref = np.zeros((8, 8, 8), np.uint8)
    ref[2:4, 2:4, 2:4] = 1
    table = SegmentationTable({1: "organ", 2: "never"}, empties="inf")
    table.add("a", np.zeros_like(ref), ref, 1)
    missed, never = table.rows
    assert (missed.dice, missed.hd_mm, missed.hd95_mm) == (0, np.inf, np.inf)
    assert np.isnan([never.dice, never.hd_mm, never.hd95_mm]).all()
    path = table.compute().to_csv(tmp_path / "table.csv")
    assert table.summary().labels[0].mean_hd_mm == np.inf
    again = CaseTable.from_csv(path, empties="diagonal").summary().labels[0]
    assert again.mean_hd_mm == pytest.approx(7 * 3**0.5)


def test_a_csv_brings_the_table_back(tmp_path: Path) -> None:
    table = measured(list(range(5)))
    back = CaseTable.from_csv(table.compute().to_csv(tmp_path / "new" / "table.csv"))
    assert repr(back.rows) == repr(table.rows)
    assert repr(back.summary()) == repr(table.summary())
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["table.csv"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = measured([0]).compute().to_csv(tmp_path / "table.csv")
    before, other = path.read_bytes(), measured([1]).compute()

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("medconv.metrics.row_text.RowText.write", full)
    with pytest.raises(OSError, match="no space left"):
        other.to_csv(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_flat_images_have_no_volume() -> None:
    table = SegmentationTable({1: "cell"})
    table.add("a", np.eye(5, dtype=int), np.eye(5, dtype=int), 0.5)
    (row,) = table.rows
    assert np.isnan([row.ref_volume_ml, row.pred_volume_ml]).all()
    assert row.diagonal_mm == pytest.approx(2 * 2**0.5)


def test_contradictions_are_refused() -> None:
    table = measured([0])
    pred, ref, spacing_mm = case(0)
    table.add("case_000", pred, ref, spacing_mm)
    assert len(table.rows) == 3
    with pytest.raises(DatasetError, match=r"label 9 \(liver\) is not in this table"):
        table.merge([CaseRow("b", 9, "liver", 1, 0, 0, False, False, 1, 1, 1)])
    table.add("case_000", np.roll(pred, 1, 0), ref, spacing_mm)
    with pytest.raises(DatasetError, match=r"case case_000, \w+: measured twice with different results"):
        table.compute()
    table.reset()
    assert table.compute().rows == ()


def test_a_batch_of_tensors_measures_as_its_cases_do() -> None:
    cases = [case(seed) for seed in range(3)]
    table = SegmentationTable(NAMES)
    preds, refs, spacings = zip(*cases, strict=True)
    tensors = [[torch.from_numpy(m) for m in side] for side in (preds, refs)]
    table.update(["case_000", "case_001", "case_002"], *tensors, torch.tensor(np.array(spacings)))
    assert repr(table.compute().rows) == repr(measured([0, 1, 2]).rows)
    with pytest.raises(
        ShapeError, match=r"as many predictions, references and spacings .* got \[2, 1, 1, 1\]"
    ):
        table.update(["a", "b"], preds[:1], refs[:1], spacings[:1])


def test_no_cast_touches_what_was_measured() -> None:
    table, expected = measured([0, 1]), measured([0, 1]).compute().csv_text()
    parent = torch.nn.ModuleList([table])
    parent.half().double().to(torch.bfloat16)
    assert table.compute().csv_text() == expected
    assert pickle.loads(pickle.dumps(table)).compute().csv_text() == expected
    assert table.state_dict() == {}


def test_without_surfaces_only_counts_are_measured() -> None:
    quick = SegmentationTable(NAMES, surfaces=False)
    quick.add("case_000", *case(0))
    for fast, full in zip(quick.rows, measured([0]).rows, strict=True):
        assert repr((fast.dice, fast.iou, fast.tp_voxels)) == repr((full.dice, full.iou, full.tp_voxels))
        assert np.isnan([fast.hd_mm, fast.hd95_mm, fast.assd_mm, fast.nsd]).all()


@pytest.mark.parametrize("label", [3, 6, -1, 1000])
@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_labels_without_a_name_are_refused(label: int, side: str) -> None:
    maps = {name: np.zeros((4, 4, 4), np.int16) for name in ("prediction", "reference")}
    maps[side][0, 0, 0] = label
    table = SegmentationTable(NAMES)
    with pytest.raises(
        DatasetError, match=rf"case x: expected labels \[0, 1, 2, 5\] in the {side}, got also \[{label}\]"
    ):
        table.add("x", maps["prediction"], maps["reference"], 1)
    assert len(table.rows) == 0


def test_other_misuse_is_refused(tmp_path: Path) -> None:
    table = SegmentationTable(NAMES)
    ref = np.zeros((4, 4, 4), int)
    with pytest.raises(ShapeError, match="evaluate on the reference's own grid"):
        table.add("a", ref[:3], ref, 1)
    with pytest.raises(GeometryError, match="expected spacing_mm with 3 positive numbers"):
        table.add("a", ref, ref, (1, 1))
    with pytest.raises(ConfigError, match="expected at least one label besides background"):
        SegmentationTable({0: "background"})
    path = tmp_path / "empty.csv"
    SegmentationTable(NAMES).compute().to_csv(path)
    with pytest.raises(DatasetError, match=r"empty\.csv: expected at least one row"):
        CaseTable.from_csv(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        DatasetError, match=r"empty\.csv: expected a table.csv of medconv, with the columns case_id"
    ):
        CaseTable.from_csv(path)


@pytest.mark.parametrize("convention", [SurfaceConvention(), SurfaceConvention("surfel", "ignore")], ids=str)
def test_the_order_of_voxels_in_memory_is_of_no_account(convention: SurfaceConvention) -> None:
    for seed in range(4):
        pred, ref, spacing_mm = case(seed)
        orders = [(p, r) for p in (pred, np.asfortranarray(pred)) for r in (ref, np.asfortranarray(ref))]
        first, *others = (
            measure_case("a", *maps, spacing_mm, NAMES, convention=convention) for maps in orders
        )
        for rows in others:
            assert not [a.contradictions(b) for a, b in zip(first, rows, strict=True) if a.contradictions(b)]


def test_the_order_of_bytes_is_of_no_account() -> None:
    pred, ref, spacing_mm = case(0)
    names = {value * 256: name for value, name in NAMES.items()}  # the low byte of each is 0
    expected = [row.dice for row in measure_case("a", pred, ref, spacing_mm, NAMES)]
    tables = [
        measure_case("a", *(m.astype(kind) * kind.type(256) for m in (pred, ref)), spacing_mm, names)
        for kind in map(np.dtype, ("<i2", ">i2", ">u2", ">i4"))
    ]
    for rows in tables:
        np.testing.assert_array_equal([row.dice for row in rows], expected)
