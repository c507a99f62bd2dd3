from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import save_nifti, two_ellipsoids

from medconv.cli.main import main
from medconv.io.label_files import write_label_files
from medconv.io.nifti import volume_from_array, write_labels
from medconv.metrics import CaseTable, Structures

AFFINE = np.diag([0.8, 0.8, 2.0, 1.0])
NAMES = "{1: head, 2: tail}"


def labels(number: int, shift: float = 0.0) -> np.ndarray:
    return two_ellipsoids((16, 18 - number % 3, 8), 0.1 * number % 0.3 + shift)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for number in range(3):
        save_nifti(tmp_path / f"ref/case_{number}.nii.gz", labels(number), AFFINE)
        save_nifti(tmp_path / f"pred/case_{number}.nii.gz", labels(number, 0.1), AFFINE)
    return tmp_path / "pred", tmp_path / "ref"


def evaluate(*words: object) -> int:
    return main(["evaluate", *map(str, words)])


def test_folders_become_the_table_that_the_arrays_give(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert evaluate(*folders, "-o", out, "--label-names", NAMES) == 0
    seen = capsys.readouterr()
    assert "head" in seen.out
    assert f"table   {out}/table.csv" in seen.out
    assert seen.err == "3 of 3 case(s) measured\n"
    structures = Structures({1: "head", 2: "tail"})
    spacing_mm = tuple(float(v) for v in np.float64(np.float32([0.8, 0.8, 2.0])))
    rows = [
        row
        for n in range(3)
        for row in structures.measure(f"case_{n}", labels(n, 0.1), labels(n), spacing_mm)
    ]
    table = CaseTable.from_csv(out / "table.csv")
    assert [row.dice for row in table.rows] == [row.dice for row in rows]
    np.testing.assert_allclose([r.hd95_mm for r in table.rows], [r.hd95_mm for r in rows], rtol=1e-6)
    nnunet = json.loads((out / "summary.json").read_text())
    assert nnunet["metric_per_case"][0]["prediction_file"] == str(folders[0] / "case_0.nii.gz")
    assert json.loads((out / "table.json").read_text())["summary"]["n_cases"] == 3


def test_names_are_matched_across_suffixes_and_what_is_alone_is_told(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    (pred / "case_0.nii.gz").rename(pred / "case_0_0000.nii.gz")
    nib.save(nib.load(pred / "case_1.nii.gz"), pred / "case_1.nii")
    (pred / "case_1.nii.gz").unlink()
    shutil.copy(pred / "case_2.nii.gz", pred / "stranger.nii.gz")
    out = pred.parent / "out"
    assert evaluate(pred, ref, "-o", out) == 0
    seen = capsys.readouterr()
    assert "1 prediction without a reference of this name, not measured" in (out / "report.html").read_text()
    assert json.loads((out / "table.json").read_text())["not_measured"] == {
        "stranger": "no reference of this name"
    }
    assert "not measured: stranger: no reference of this name" in seen.err
    assert "3 of 3 case(s) measured" in seen.err
    (pred / "case_2.nii.gz").unlink()
    assert evaluate(pred, ref) == 1
    assert "failed: case_2: no prediction of this name\n2 of 3 case(s) measured" in capsys.readouterr().err


def test_bad_cases_are_listed_and_the_others_done(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    bad = {
        "grid": (labels(0)[:-1], AFFINE, "expected the shape"),
        "spacing": (labels(0), AFFINE * 1.1, "voxels apart"),
        "label": (np.where(labels(0) == 1, 7, 0).astype(np.uint8), AFFINE, "got also [7]"),
        "nan": (np.where(labels(0) == 1, np.nan, 0).astype(np.float32), AFFINE, "NaN"),
    }
    for name, (array, affine, _) in bad.items():
        save_nifti(ref / f"{name}.nii.gz", labels(0), AFFINE)
        save_nifti(pred / f"{name}.nii.gz", array, affine)
    (ref / "broken.nii.gz").write_bytes((ref / "case_0.nii.gz").read_bytes()[:90])
    shutil.copy(pred / "case_0.nii.gz", pred / "broken.nii.gz")
    save_nifti(ref / "twice.nii.gz", labels(0), AFFINE)
    for suffix in ("nii", "nii.gz"):
        save_nifti(pred / f"twice.{suffix}", labels(0), AFFINE)
    assert evaluate(pred, ref, "-o", tmp_path / "out", "--label-names", NAMES) == 1
    told = {line.split(": ")[1]: line for line in capsys.readouterr().err.splitlines() if "failed" in line}
    assert set(told) == {*bad, "broken", "twice"}
    for name, (_, _, reason) in bad.items():
        assert reason in told[name]
    assert "damaged" in told["broken"]
    assert "two predictions of one name, twice.nii and twice.nii.gz" in told["twice"]
    assert CaseTable.from_csv(tmp_path / "out/table.csv").case_ids == ("case_0", "case_1", "case_2")


def test_two_files_are_one_case_whatever_they_are_called(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pred, ref = folders
    assert evaluate(pred / "case_1.nii.gz", ref / "case_0.nii.gz", "-o", tmp_path / "a") == 1
    assert evaluate(pred / "case_0.nii.gz", ref / "case_0.nii.gz", "-o", tmp_path / "a") == 0
    assert CaseTable.from_csv(tmp_path / "a/table.csv").case_ids == ("case_0",)


def test_a_dataset_brings_its_references_and_names(
    tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tiny_dataset / "labelsTr", tiny_dataset, "-o", tmp_path / "a") == 0
    assert evaluate(tiny_dataset / "labelsTr", tiny_dataset / "labelsTr", "-o", tmp_path / "b") == 0
    for out in ("a", "b"):
        table = CaseTable.from_csv(tmp_path / out / "table.csv")
        assert dict(table.label_names) == {1: "head", 2: "tail"}
        assert table.summary().class_first["dice"] == 1
    assert (tmp_path / "a/table.csv").read_text() == (tmp_path / "b/table.csv").read_text()


def test_labels_without_names_are_those_that_occur_anywhere(tmp_path: Path) -> None:
    one, both, none = (np.where(labels(0) <= k, labels(0), 0).astype(np.uint8) for k in (1, 2, 0))
    for name, array in {"both": both, "none": none, "one": one}.items():
        save_nifti(tmp_path / f"ref/{name}.nii.gz", array, AFFINE)
    assert evaluate(tmp_path / "ref", tmp_path / "ref", "-o", tmp_path / "out") == 0
    table = CaseTable.from_csv(tmp_path / "out/table.csv")
    assert [(r.case_id, r.name, r.ref_empty) for r in table.rows] == [
        ("both", "label_1", False),
        ("both", "label_2", False),
        ("none", "label_1", True),
        ("none", "label_2", True),
        ("one", "label_1", False),
        ("one", "label_2", True),
    ]
    assert [entry.n_both_empty for entry in table.summary().labels] == [1, 2]


def test_references_without_any_structure_are_a_problem(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    for path in ref.iterdir():
        save_nifti(path, np.zeros(nib.load(path).shape, np.uint8), AFFINE)
    assert evaluate(pred, ref) == 1
    assert "no reference holds any structure (case_0, case_1, case_2)" in capsys.readouterr().err


def test_options_come_from_a_file_too(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = tmp_path / "evaluate.yaml"
    config.write_text(
        "label_names: {1: head, 2: tail}\nregions: {whole: [1, 2]}\n"
        "tolerances_mm: {head: 0.5, whole: 2}\nempties: 374\nsurface: surfel\n"
    )
    assert evaluate(*folders, "-o", tmp_path / "out", "--config", config) == 0
    table = CaseTable.from_csv(tmp_path / "out/table.csv")
    assert dict(table.label_names) == {1: "head", 2: "tail", -1: "whole"}
    tolerance = {row.name: row.nsd_tolerance_mm for row in table.rows}
    assert (tolerance["head"], tolerance["whole"]) == (0.5, 2.0)
    assert json.loads((tmp_path / "out/table.json").read_text())["conventions"]["empties"] == 374
    assert table.convention.startswith("surface: surface elements weighted by area")


@pytest.mark.slow
def test_one_and_several_processes_measure_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for workers in (1, 2):
        assert evaluate(*folders, "-o", tmp_path / str(workers), "--workers", workers) == 0
    files = [(tmp_path / str(n) / "table.csv").read_bytes() for n in (1, 2)]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere", "{ref}"], "no prediction file or folder nowhere"),
        (["{pred}", "{empty}"], "expected references ending in .nii.gz, .nii, .nrrd"),
        (["{pred}/case_0.nii.gz", "{ref}"], "expected two files or two folders"),
        (["{pred}", "{ref}", "--empties", "worst"], "expected diagonal, inf, nan or a number"),
        (["{pred}", "{ref}", "--regions", "{{a: [1]}}"], "expected declared labels for regions"),
        (["{pred}", "{ref}", "--label-names", "{{1: a}}", "--regions", "{{b: [3]}}"], "region 'b'"),
        (["{pred}", "{ref}", "--workers", "-1"], "expected 0 or more workers"),
        (["{pred}", "{ref}", "--tolerances-mm", "-4"], "expected a tolerance of 0 mm or more, got -4"),
        (["{pred}", "{ref}", "--only-regions"], "--only-regions: expected regions, got none; give --regions"),
        (["{pred}", "{ref}", "--label-names", "head"], "for example --label-names '{{1: head, 2: tail}}'"),
        (["{pred}", "{ref}", "-o", "{pred}/case_0.nii.gz"], "-o: expected a folder"),
        (["{pred}", "{ref}", "-o", "{pred}/case_0.nii.gz/x"], "-o: cannot write into"),
        (["{pred}", "{ref}", "--toleranse", "1"], "no option or argument '--toleranse'"),
    ],
)
def test_wrong_arguments_end_with_2(
    folders: tuple[Path, Path],
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    pred, ref = folders
    assert evaluate(*(w.format(pred=pred, ref=ref, empty=tmp_path / "empty") for w in words)) == 2
    assert message.replace("{{", "{").replace("}}", "}") in capsys.readouterr().err


def test_labels_without_names_have_the_tolerance_that_is_given(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-o", tmp_path / "out", "--tolerances-mm", "4", "--surface", "surfel"]
    assert evaluate(*folders, *words) == 0
    table = CaseTable.from_csv(tmp_path / "out/table.csv")
    assert {row.nsd_tolerance_mm for row in table.rows} == {4.0}
    assert table.convention.startswith("surface: surface elements")
    assert "NSD: share of both surfaces within 4 mm of each other" in capsys.readouterr().out


def test_a_misspelt_key_of_a_file_is_told_with_the_file(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("tolerance_mm: 2\n")
    assert evaluate(*folders, "--config", config) == 2
    assert "mine.yaml: no option 'tolerance_mm'; did you mean 'tolerances_mm'?" in capsys.readouterr().err


def test_the_report_says_where_it_comes_from(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for path in folders[1].iterdir():
        save_nifti(path, np.zeros(nib.load(path).shape, np.uint8), AFFINE)
    (folders[0] / "case_0.nii.gz").unlink()
    assert evaluate(*folders, "-o", tmp_path / "out") == 1
    page = (tmp_path / "out/report.html").read_text()
    assert "predictions: pred · references: ref" in page
    assert str(tmp_path) not in page
    assert "2 of 3 cases · " in page
    assert "1 of 3 cases not measured" in page
    assert "No reference holds any structure" in page


@pytest.mark.slow
def test_a_thousand_volumes_take_no_more_memory_than_a_hundred(tmp_path: Path) -> None:
    source = save_nifti(tmp_path / "first.nii.gz", labels(0), AFFINE)
    for number in range(1000):
        for side in ("pred", "ref"):
            (tmp_path / side).mkdir(exist_ok=True)
            (tmp_path / side / f"case_{number:04}.nii.gz").hardlink_to(source)
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((tmp_path / "ref").iterdir())[:100]:
        (few / path.name).hardlink_to(path)
    code = (
        "import resource, sys; from medconv.cli.main import main; code = main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )
    peak_mib = {}
    for name in ("few", "ref"):
        words = ["evaluate", str(tmp_path / name), str(tmp_path / name), "--workers", "1"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
        )
        peak_mib[name] = int(done.stderr.split()[-1]) / 1024
    assert peak_mib["ref"] - peak_mib["few"] < 20


def named(path: Path, array: np.ndarray, names: dict[int, str]) -> None:
    """A mask as ``medconv predict`` writes it."""
    like = volume_from_array(array.astype(np.float32), affine=AFFINE)
    write_labels(path, array, like, {0: "background", **names})


@pytest.mark.parametrize("where", ["labels.txt", "labels.ctbl", "case_0.nii.gz"])
def test_bare_references_take_names_from_the_predictions(
    where: str, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    write_label_files(pred, {0: "background", 1: "whole head", 2: "tail"})
    for file in {"labels.txt", "labels.ctbl"} - {where}:
        (pred / file).unlink()
    if where == "case_0.nii.gz":
        named(pred / where, labels(0, 0.1), {1: "whole head", 2: "tail"})
    assert evaluate(pred, ref, "-o", tmp_path / "out", "--tolerances-mm", "{tail: 3}") == 0
    table = CaseTable.from_csv(tmp_path / "out/table.csv")
    assert dict(table.label_names) == {1: "whole head", 2: "tail"}
    assert {row.nsd_tolerance_mm for row in table.rows if row.name == "tail"} == {3.0}
    assert f"remark: names of structures come from {pred}/{where}\n" in capsys.readouterr().err
    assert f"names of structures: {where} of the predictions" in (tmp_path / "out/report.html").read_text()


def test_names_of_predictions_do_not_choose_what_is_measured(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    write_label_files(pred, {0: "background", 1: "head", 7: "wing", 8: "head"})
    assert evaluate(pred, ref, "-o", tmp_path / "out") == 0
    # no case holds a wing, label 2 has no name, and one name of two labels names neither
    assert dict(CaseTable.from_csv(tmp_path / "out/table.csv").label_names) == {1: "label_1", 2: "label_2"}
    write_label_files(tmp_path / "again", {0: "background", 1: "head", 7: "wing"})
    shutil.copy(tmp_path / "again/labels.txt", pred)
    assert evaluate(pred, ref, "-o", tmp_path / "out") == 0
    assert dict(CaseTable.from_csv(tmp_path / "out/table.csv").label_names) == {1: "head", 2: "label_2"}


def test_options_and_references_win_over_the_names_of_predictions(
    tiny_dataset: Path, folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pred, ref = folders
    write_label_files(pred, {0: "background", 1: "caput", 2: "cauda"})
    assert evaluate(pred, ref, "-o", tmp_path / "a", "--label-names", NAMES) == 0
    shutil.copytree(tiny_dataset / "labelsTr", tmp_path / "masks")
    write_label_files(tmp_path / "masks", {0: "background", 1: "caput", 2: "cauda"})
    assert evaluate(tmp_path / "masks", tiny_dataset / "labelsTr", "-o", tmp_path / "b") == 0
    for out in ("a", "b"):
        assert dict(CaseTable.from_csv(tmp_path / out / "table.csv").label_names) == {1: "head", 2: "tail"}
    assert "remark" not in capsys.readouterr().err
