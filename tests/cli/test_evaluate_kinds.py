"""`medconv evaluate` of objects, of membranes, and of what a dataset declares: files in, tables and reports out."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import save_nifti
from html_reader import Reader

from medconv.cli.main import main
from medconv.metrics import (
    CaseTable,
    InstanceTable,
    MembraneTable,
    measure_case,
    measure_instances,
    measure_membrane,
)

AFFINE = np.diag([0.8, 0.8, 2.0, 1.0])


def evaluate(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def cells(seed: int, shape: tuple[int, int] = (64, 80)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.uint16)
    for number in rng.choice(np.arange(1, 900), 9, replace=False):
        row, column = (int(rng.integers(n)) for n in shape)
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= rng.uniform(3, 8) ** 2] = number
    return labels


def worsened(labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    lost = rng.choice(np.unique(labels[labels > 0]), 2, replace=False)
    pred = np.where(np.isin(labels, lost), 0, np.roll(labels, 1, 0)).astype(np.uint16)
    pred[2:8, 2:8] = 60_000
    return pred


def save_tiff(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array)


@pytest.fixture
def nuclei(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(4):
        labels = cells(number)
        save_tiff(tmp_path / f"labels/cell_{number}.tif", labels)
        save_tiff(tmp_path / f"images/cell_{number}.tif", (labels > 0).astype(np.uint8) * 90)
        save_tiff(tmp_path / f"masks/cell_{number}.tif", worsened(labels, number))
    return tmp_path / "masks", tmp_path / "labels"


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_of_all_objects_is_told_and_no_reference(
    value: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered = np.zeros((30, 30), np.uint8)
    for number in range(4):
        numbered[3 + 7 * number : 7 + 7 * number, 3:9] = number + 1
    for name, array in (("numbered", numbered), ("mask", np.where(numbered, np.uint8(value), 0))):
        for case in "ab":
            save_tiff(tmp_path / f"{name}/{case}.tif", array)
    colours = np.random.default_rng(0).integers(1, 255, (5, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "mask/b.tif", colours[numbered], photometric="rgb")
    why = "expected one number an object, got one number for 4 separate pieces"
    remedy = "Number the objects, or measure labels, without --instances"
    assert evaluate(tmp_path / "mask", tmp_path / "numbered", "--instances") == 1
    seen = capsys.readouterr()
    assert re.search(f"remark: a: .*mask/a.tif: {why}.*{remedy}", seen.err)
    assert "Objects: 4 in references, 1 predicted" in seen.out
    assert re.search(r"failed: b: .*mask/b.tif: expected one number a pixel .* got 5 colours in 3", seen.err)
    assert evaluate(tmp_path / "numbered", tmp_path / "mask", "--instances") == 1
    seen = capsys.readouterr()
    assert re.search(f"failed: a: .*mask/a.tif: {why}.*{remedy}", seen.err)
    assert re.search(r"failed: b: .*mask/b.tif: .* got 5 colours in 3", seen.err)
    assert seen.out == ""


def test_what_nobody_labelled_is_no_mask_of_objects(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbered = np.zeros((30, 30), np.uint8)
    numbered[2:6, 2:6] = 1
    pieces = numbered.copy()
    for row in range(8, 28, 6):
        pieces[row : row + 4, 2:9] = 255
    save_tiff(tmp_path / "masks/a.tif", numbered)
    save_tiff(tmp_path / "labels/a.tif", pieces)
    assert evaluate(tmp_path / "masks", tmp_path / "labels", "--instances", "--ignore-label", "255") == 0
    assert "Objects: 1 in references, 1 predicted" in capsys.readouterr().out


def test_objects_of_files_are_those_of_the_arrays(
    nuclei: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert evaluate(*nuclei, "--instances", "-o", out) == 0
    seen = capsys.readouterr()
    assert seen.err == "4 of 4 case(s) measured\n"
    expected = InstanceTable(
        measure_instances(f"cell_{n}", worsened(cells(n), n), cells(n)) for n in range(4)
    )
    table = InstanceTable.from_csv(out / "table.csv")
    assert table.rows == expected.rows
    assert f"AP@0.5           {expected.summary().mean['ap_50']:.4f} [" in seen.out
    assert f"table   {out}/table.csv\nreport  {out}/report.html" in seen.out
    assert json.loads((out / "table.json").read_text())["not_measured"] == {}
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "table.csv", "table.json"]


def test_the_report_of_objects_shows_the_worst_images_first(
    nuclei: tuple[Path, Path], tmp_path: Path
) -> None:
    (nuclei[0] / "cell_3.tif").unlink()
    save_tiff(nuclei[0] / "stranger.tif", cells(9))
    assert evaluate(*nuclei, "--instances", "-o", tmp_path / "out") == 1
    text = (tmp_path / "out/report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert "http" not in text
    assert "<script" not in text
    ids = [attrs["id"] for _, attrs in reader.tags if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert {str(a["href"])[1:] for t, a in reader.tags if t == "a"} <= set(ids)
    assert all(attrs.get("alt") for tag, attrs in reader.tags if tag == "img")
    assert all(attrs.get("aria-label") for tag, attrs in reader.tags if tag == "svg")
    table = InstanceTable.from_csv(tmp_path / "out/table.csv")
    assert re.findall(r"<figcaption><strong>(cell_\d)", text) == table.worst_first()
    found = table.intervals()["mean", "ap_50"]
    assert f'<dd class="big">{found.mean:.3f}</dd>' in text
    assert f"[{found.low:.3f}, {found.high:.3f}]<br>pooled {table.summary().pooled['ap_50']:.3f}" in text
    assert "3 of 4 images · " in text
    assert "no prediction of this name" in text
    assert "1 prediction without a reference of this name, not measured" in text
    assert "predictions: masks · references: labels" in text


def test_bad_images_are_listed_and_the_others_done(
    nuclei: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = nuclei
    save_tiff(pred / "cell_0.tif", cells(0)[:-1])
    (pred / "cell_1.tif").write_bytes((pred / "cell_1.tif").read_bytes()[:90])
    save_tiff(ref / "cell_2.tif", cells(2) * 0)
    assert evaluate(pred, ref, "--instances", "-o", tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert "failed: cell_0: " in told
    assert "expected the shape (64, 80, 1)" in told
    assert "failed: cell_1: " in told
    table = InstanceTable.from_csv(tmp_path / "out/table.csv")
    assert table.case_ids == ("cell_2", "cell_3")
    assert table.rows[0].scores["ap_50"] == 0
    for path in ref.iterdir():
        save_tiff(path, cells(0) * 0)
    assert evaluate(pred, ref, "--instances") == 1
    assert "no reference holds any object (cell_2, cell_3)" in capsys.readouterr().err


def test_volumes_and_one_number_that_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = np.stack([cells(1), cells(1), cells(1)], axis=2)
    stack[:20] = 65_535
    save_nifti(tmp_path / "ref/a.nii.gz", stack, AFFINE)
    save_nifti(tmp_path / "pred/a.nii.gz", np.stack([cells(1)] * 3, axis=2), AFFINE)
    assert evaluate(tmp_path / "pred", tmp_path / "ref", "--instances", "--ignore-label", 65_535) == 0
    out = capsys.readouterr().out
    assert re.search(r"AP@0\.5 +1\.0000 ", out)
    assert f"{20 * 80 * 3} ignored voxels are part of no figure." in out


def test_two_tables_of_objects_are_compared(
    nuclei: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*nuclei, "--instances", "-o", tmp_path / "bad") == 0
    assert evaluate(nuclei[1], nuclei[1], "--instances", "-o", tmp_path / "good") == 0
    capsys.readouterr()
    words = ["compare-tables", str(tmp_path / "bad"), str(tmp_path / "good")]
    assert main(words) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("objects")]
    assert [re.split(" {2,}", line)[1] for line in lines] == ["mean AP", "AP@0.5", "PQ"]
    assert main([*words, "--empties", "nan"]) == 2
    assert (
        "--empties: has no meaning for tables of objects, which hold no distances" in capsys.readouterr().err
    )
    assert main([*words, "--scores", "[aji, splits]", "-o", str(tmp_path / "c")]) == 0
    assert [e["score"] for e in json.loads((tmp_path / "c/comparison.json").read_text())] == ["aji", "splits"]
    assert evaluate(nuclei[1], nuclei[1], "--label-names", "{1: x}", "-o", tmp_path / "classes") == 1
    semantic = measure_case("cell_0", np.eye(4, dtype=int), np.eye(4, dtype=int), 1, {1: "x"})
    CaseTable(semantic).to_csv(tmp_path / "s/table.csv")
    capsys.readouterr()
    assert main([*words, str(tmp_path / "s")]) == 2
    told = capsys.readouterr().err
    assert "expected tables of one kind, bad/table.csv is one of objects" in told
    assert "s/table.csv is one of structures" in told


def membranes(folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    made = []
    for number in range(3):
        rng = np.random.default_rng(number)
        ref = np.zeros((40, 40), np.uint8)
        ref[rng.integers(9, 30)] = ref[:, rng.integers(9, 30)] = 1
        shares = np.clip(ref * 0.5 + rng.random(ref.shape) * 0.3, 0, 1).astype(np.float32)
        save_tiff(folder / f"labels/slice_{number}.tif", ref)
        save_tiff(folder / f"shares/slice_{number}.tif", shares)
        made.append((shares, ref))
    return made


def test_probabilities_of_membrane_are_cut_at_every_threshold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, out = membranes(tmp_path), tmp_path / "out"
    assert evaluate(tmp_path / "shares", tmp_path / "labels", "--membrane", "-o", out) == 0
    expected = MembraneTable(
        row for n, pair in enumerate(made) for row in measure_membrane(f"slice_{n}", *pair)
    )
    assert MembraneTable.from_csv(out / "table.csv").rows == expected.rows
    best = expected.summary()
    assert f"V Rand        {best.mean['v_rand']:.4f}  [" in capsys.readouterr().out
    text = (out / "report.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert re.findall(r"<figcaption><strong>(slice_\d)", text) == expected.worst_first()
    assert f"threshold {best.best_thresholds['v_rand']:g}" in text
    words = ["--membrane", "--thresholds", "[0.4]", "-o", tmp_path / "one"]
    assert evaluate(tmp_path / "shares", tmp_path / "labels", *words) == 0
    assert MembraneTable.from_csv(tmp_path / "one/table.csv").thresholds == (0.4,)


def test_masks_of_membrane_and_channels_of_probabilities_are_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = membranes(tmp_path)
    assert evaluate(tmp_path / "labels", tmp_path / "labels", "--membrane") == 0
    assert "V Info        1.0000  [1.0000, 1.0000]        0.5" in capsys.readouterr().out
    for number, (shares, ref) in enumerate(made):
        both = np.stack([1 - shares, shares], axis=-1)[:, :, None]
        save_nifti(tmp_path / f"nifti/slice_{number}.nii.gz", both, np.eye(4))
        save_nifti(tmp_path / f"ref/slice_{number}.nii.gz", ref[..., None], np.eye(4))
    assert evaluate(tmp_path / "nifti", tmp_path / "ref", "--membrane", "-o", tmp_path / "out") == 0
    found = MembraneTable.from_csv(tmp_path / "out/table.csv").summary().mean["v_rand"]
    expected = MembraneTable(row for n, pair in enumerate(made) for row in measure_membrane(f"s{n}", *pair))
    assert found == pytest.approx(expected.summary().mean["v_rand"])
    assert evaluate(tmp_path / "nifti", tmp_path / "ref", "--membrane", "--membrane-label", 2) == 1
    assert "expected probabilities of label 2, got 2 channels" in capsys.readouterr().err
    save_tiff(tmp_path / "grey/slice_0.tif", np.float32(made[0][0] * 255.5))
    assert evaluate(tmp_path / "grey/slice_0.tif", tmp_path / "labels/slice_0.tif", "--membrane") == 1
    assert "expected labels, or probabilities of membrane from 0 to 1, got" in capsys.readouterr().err


def test_whole_numbers_that_are_no_labels_of_membrane_are_not_measured_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = membranes(tmp_path)
    for number, (shares, ref) in enumerate(made):
        save_tiff(tmp_path / f"grey/slice_{number}.tif", np.round(255 * shares).astype(np.uint8))
        save_tiff(tmp_path / f"dark/slice_{number}.tif", np.where(ref, 0, 7).astype(np.uint8))
    labels = tmp_path / "labels"
    assert evaluate(tmp_path / "grey", labels, "--membrane") == 1
    seen = " ".join(capsys.readouterr().err.split())
    assert re.search(r"got \d+ different whole numbers up to \d+; divide by the largest possible one", seen)
    for pair in ((tmp_path / "dark", labels), (labels, tmp_path / "dark")):
        assert evaluate(*pair, "--membrane") == 1
        seen = " ".join(capsys.readouterr().err.split())
        assert "expected membrane to be 1, got 0, 7; say which of them it is with --membrane-label" in seen
    words = ["--membrane", "--membrane-label", 0]
    assert evaluate(tmp_path / "dark", tmp_path / "dark", *words) == 0
    assert "V Rand        1.0000" in capsys.readouterr().out


def test_regions_and_the_ignore_label_of_a_dataset_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    data, names = tmp_path / "Dataset001", {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    description = {"channel_names": {"0": "MRI"}, "labels": names, "regions_class_order": [1, 2]}
    description |= {"numTraining": 2, "file_ending": ".nii.gz"}
    arrays = {}
    for case in ("a", "b"):
        ref, pred = rng.integers(0, 4, (2, 8, 9, 7)).astype(np.uint8)
        pred[pred == 3] = 0
        save_nifti(data / f"imagesTr/{case}_0000.nii.gz", ref.astype(np.float32), AFFINE)
        save_nifti(data / f"labelsTr/{case}.nii.gz", ref, AFFINE)
        save_nifti(tmp_path / f"masks/{case}.nii.gz", pred, AFFINE)
        arrays[case] = pred, ref
    (data / "dataset.json").write_text(json.dumps(description))
    assert evaluate(tmp_path / "masks", data, "-o", tmp_path / "out") == 0
    table = CaseTable.from_csv(tmp_path / "out/table.csv")
    assert dict(table.label_names) == {-1: "whole", -2: "core"}
    for row in table.rows:
        pred, ref = arrays[row.case_id]
        known, members = ref != 3, {-1: (1, 2), -2: (2,)}[row.label]
        p, r = known & np.isin(pred, members), known & np.isin(ref, members)
        assert row.dice == pytest.approx(2 * (p & r).sum() / (p.sum() + r.sum()))
        assert (row.ignored_voxels, row.image_voxels) == ((~known).sum(), known.sum())
    assert "ignored voxels" in capsys.readouterr().out
    assert "Ignored voxels" in (tmp_path / "out/report.html").read_text()
    # a folder of labels below the description says the same, and options win
    assert evaluate(tmp_path / "masks", data / "labelsTr", "-o", tmp_path / "same") == 0
    assert (tmp_path / "same/table.csv").read_bytes() == (tmp_path / "out/table.csv").read_bytes()
    words = ["--label-names", "{1: x, 2: y}", "--ignore-label", 3, "-o", tmp_path / "own"]
    assert evaluate(tmp_path / "masks", data, *words) == 0
    own = CaseTable.from_csv(tmp_path / "own/table.csv")
    assert dict(own.label_names) == {1: "x", 2: "y"}
    assert {row.ignored_voxels > 0 for row in own.rows} == {True}


def test_labels_without_names_can_be_ignored_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ref = np.random.default_rng(0).integers(0, 3, (8, 8, 8)).astype(np.uint8)
    save_nifti(tmp_path / "ref/a.nii.gz", np.where(ref == 2, 255, ref).astype(np.uint8), AFFINE)
    save_nifti(tmp_path / "pred/a.nii.gz", ref % 2, AFFINE)
    assert evaluate(tmp_path / "pred", tmp_path / "ref", "--ignore-label", 255) == 0
    assert re.search(r"label_1  1\.0000", capsys.readouterr().out)


def test_pixels_of_unknown_size_have_no_distances_until_they_are_stated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.pad(np.ones((20, 30), np.uint8), 9)
    (tmp_path / "ref").mkdir()
    (tmp_path / "pred").mkdir()
    save_tiff(tmp_path / "ref/a.tif", labels)
    save_tiff(tmp_path / "pred/a.tif", np.roll(labels, 2, 0))
    words = [tmp_path / "pred", tmp_path / "ref", "--label-names", "{1: nucleus}", "-o", tmp_path / "out"]
    assert evaluate(*words) == 0
    assert "remark: a: nobody says how large a pixel is, so there are no distances" in capsys.readouterr().err
    (row,) = CaseTable.from_csv(tmp_path / "out/table.csv").rows
    assert np.isnan([row.hd95_mm, row.nsd, row.diagonal_mm]).all()
    assert row.spacing_mm == ()
    assert row.dice > 0.5
    assert evaluate(*words, "--pixel-size-um", 500) == 0
    (row,) = CaseTable.from_csv(tmp_path / "out/table.csv").rows
    assert row.hd_mm == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--instances", "--membrane"], "expected --instances or --membrane, got both"),
        (
            ["--instances", "--regions", "{a: [1]}"],
            "--regions: has no meaning with --instances; leave it out",
        ),
        (["--membrane", "--tolerances-mm", "2"], "--tolerances-mm: has no meaning with --membrane"),
        (["--membrane", "--ignore-label", "2"], "--ignore-label: has no meaning with --membrane"),
        (["--thresholds", "[0.5]"], "--thresholds: has no meaning without --membrane"),
        (["--instances", "--membrane-label", "2"], "--membrane-label: has no meaning without --membrane"),
        (["--membrane", "--thresholds", "[1.5]"], "--thresholds: expected numbers from 0 to 1, got [1.5]"),
        (
            ["--ignore-label", "1", "--label-names", "{1: a}"],
            "expected an ignore label above 0 that is none of",
        ),
    ],
)
def test_options_that_would_change_nothing_end_with_2(
    nuclei: tuple[Path, Path], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(*nuclei, *words) == 2
    assert message in capsys.readouterr().err


def test_a_dataset_of_objects_asks_for_instances(
    nuclei: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    description = {
        "channel_names": {"0": "DNA"},
        "labels": {"background": 0, "nucleus": 1},
        "instances": True,
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    from medconv.io.description import declared_labels_in

    if not declared_labels_in(description, []).instances:
        pytest.fail("a dataset says it differently now")
    assert evaluate(*nuclei) == 2
    assert "its label maps number objects, not labels; add --instances" in capsys.readouterr().err
    assert evaluate(*nuclei, "--instances") == 0


@pytest.mark.slow
@pytest.mark.skipif("MEDCONV_REAL_DATA" not in os.environ, reason="needs MEDCONV_REAL_DATA")
def test_real_nuclei_against_themselves_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = Path(os.environ["MEDCONV_REAL_DATA"]) / "nuclei/labels"
    assert evaluate(labels, labels, "--instances", "-o", tmp_path, "--workers", 1) == 0
    summary = InstanceTable.from_csv(tmp_path / "table.csv").summary()
    assert (summary.n_images, summary.missed, summary.invented) == (200, 0, 0)
    assert summary.mean["ap"] == summary.pooled["pq"] == 1
