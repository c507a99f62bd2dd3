from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from tiny_checkpoint import save_checkpoint, tiny_plan
from tiny_dicom import save_series

from medconv.cli.main import main
from medconv.cli.predict_tables import REPORT_KEYS, TABLE_COLUMNS
from medconv.io.claim import claim

NiftiFactory = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


@pytest.fixture
def scans(tiny_nifti: NiftiFactory, tmp_path: Path) -> Path:
    for name in ("a.nii.gz", "b.nii.gz"):
        tiny_nifti(f"scans/{name}")
    return tmp_path / "scans"


def predict(*words: object) -> int:
    return main(["predict", *map(str, words), "--device", "cpu"])


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def mask(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj)


@pytest.mark.slow
def test_everything_that_can_lie_beside_masks_does(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    second = save_checkpoint(tmp_path / "second.ckpt", seed=1)
    beside = ("--per-class", "--save-probabilities", "--uncertainty", "--preview")
    about = ("--stats", tmp_path / "s.csv", "--report", tmp_path / "r.json")
    assert predict("-i", scans, "-o", out, checkpoint, second, *beside, *about) == 0
    assert tree(out) == sorted(
        [
            "labels.ctbl",
            "labels.txt",
            *(
                file.format(case)
                for case in "ab"
                for file in (
                    "{}.nii.gz",
                    "per_class/{}/head.nii.gz",
                    "per_class/{}/tail.nii.gz",
                    "probabilities/{}.nii.gz",
                    "entropy/{}.nii.gz",
                    "preview/{}.png",
                )
            ),
        ]
    )
    table = rows(tmp_path / "s.csv")
    assert [(row["case"], row["name"]) for row in table] == [
        ("a", "head"),
        ("a", "tail"),
        ("b", "head"),
        ("b", "tail"),
    ]
    labels = mask(out / "a.nii.gz")
    for row in table[:2]:
        value = int(row["label"])
        assert int(row["voxels"]) == (labels == value).sum()
        assert np.array_equal(mask(out / f"per_class/a/{row['name']}.nii.gz"), labels == value)
        probabilities = nib.load(out / "probabilities/a.nii.gz").get_fdata()
        if int(row["voxels"]):
            expected = probabilities[..., value][labels == value].mean()
            assert float(row["mean_probability"]) == pytest.approx(expected, abs=1e-4)
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["status"], report["counts"]["ok"], report["command"][:2]) == (
        "finished",
        2,
        ["medconv", "predict"],
    )
    assert [len(case["structures"]) for case in report["cases"]] == [2, 2]
    seen = capsys.readouterr()
    assert "certainty: " in seen.out
    assert seen.out.splitlines()[-2:] == [str(tmp_path / "s.csv"), str(tmp_path / "r.json")]


def test_the_companions_of_one_file_lie_beside_it(checkpoint: Path, scans: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert (
        predict("-i", scans / "a.nii.gz", "-o", out / "m.nii", checkpoint, "--uncertainty", "--per-class")
        == 0
    )
    assert tree(out) == ["m.nii", "m_entropy.nii", "m_per_class/head.nii", "m_per_class/tail.nii"]


def test_the_same_scan_in_three_formats_has_the_same_mask(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series = save_series(tmp_path / "in" / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(series)))
    image = reader.Execute()
    for suffix in (".nii.gz", ".nrrd"):
        sitk.WriteImage(image, str(tmp_path / "in" / f"file{suffix}"))
    (tmp_path / "list.csv").write_text(
        "case_id,image\none,in/series\ntwo,in/file.nii.gz\nthree,in/file.nrrd\n"
    )
    assert predict("-i", tmp_path / "list.csv", "-o", tmp_path / "out", checkpoint) == 0
    one, two, three = (nib.load(tmp_path / "out" / f"{name}.nii.gz") for name in ("one", "two", "three"))
    assert len(np.unique(mask(tmp_path / "out" / "one.nii.gz"))) > 1
    for other in (two, three):
        assert np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
        np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)


@pytest.mark.slow
def test_a_series_gets_a_dicom_segmentation(checkpoint: Path, tmp_path: Path) -> None:
    series = save_series(tmp_path / "study" / "ct")
    assert predict("-i", tmp_path / "study", "-o", tmp_path / "out", checkpoint, "--dicom-seg") == 0
    seg = highdicom.seg.segread(tmp_path / "out" / "dicom_seg" / "ct.dcm")
    labels = mask(tmp_path / "out" / "ct.nii.gz")
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["head", "tail"]
    assert seg.pixel_array.sum() == (labels > 0).sum()
    assert series.is_dir()


@pytest.mark.slow
def test_a_rerun_does_what_is_missing_and_the_table_stays_whole(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-i", scans, "-o", tmp_path / "out", checkpoint, "--stats", tmp_path / "s.csv")
    assert predict(*words) == 0
    whole = (tmp_path / "s.csv").read_text()
    (tmp_path / "out" / "b.nii.gz").unlink()
    assert predict(*words, "--skip-existing") == 0
    assert (tmp_path / "s.csv").read_text() == whole
    (tmp_path / "s.csv").unlink()  # as after a kill: masks are there, their rows are not
    assert predict(*words, "--skip-existing") == 0
    assert (tmp_path / "s.csv").read_text() == whole
    assert "0 done, 2 skipped, 0 failed" in capsys.readouterr().out


def test_a_mask_that_cannot_be_measured_is_a_failure(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(scans / "a.nii.gz", out / "a.nii.gz")
    words = (
        "-i",
        scans / "a.nii.gz",
        "-o",
        out,
        checkpoint,
        "--stats",
        tmp_path / "s.csv",
        "--skip-existing",
    )
    assert predict(*words) == 1
    assert "failed: a: no row in s.csv: " in capsys.readouterr().err
    assert rows(tmp_path / "s.csv") == []


def test_a_case_of_another_job_is_told_and_the_rest_is_done(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with claim(tmp_path / "out" / "a.nii.gz"):
        assert predict("-i", scans, "-o", tmp_path / "out", checkpoint) == 0
    out = capsys.readouterr().out
    assert "skipped a  0.0 s" in out
    assert "(another job is making it)" in out
    assert "1 done, 1 skipped" in out


def test_foreign_label_files_are_left_and_told(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels.txt").write_text("mine")
    assert predict("-i", scans, "-o", tmp_path / "out", checkpoint) == 0
    assert (tmp_path / "out" / "labels.txt").read_text() == "mine"
    assert capsys.readouterr().err == (
        f"remark: {tmp_path}/out/labels.txt belongs to something else and stays; label names lie in the masks only\n"
    )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--stats", "s.txt"], "--stats: expected a file ending in .csv, got s.txt"),
        (["--report", "{scans}"], "--report: expected a file ending in .json, got"),
        (["--stats", "{file}/s.csv"], "--stats: expected a folder, "),
        (["--report", "{file}/deep/r.json"], "--report: no folder "),
        (["--stats", "{scans}/../nowhere/deep/s.csv"], "nowhere/deep; make it, or correct "),
        (
            ["--postprocessing", "nope.yaml"],
            "no file nope.yaml; expected a YAML file of rules, relative paths",
        ),
        (["--stats", "{table}"], "is an input and would be replaced; name another file"),
        (
            ["--stats", "{other}"],
            "is no table of medconv predict (expected columns case, label, name, voxels,",
        ),
        (["--report", "{json}"], "is no report of medconv predict (expected schema, status, command,"),
        (
            ["--stats", "s.csv", "--region-table", "./s.csv"],
            "--region-table: ./s.csv is the file of --stats too and would replace it; name another file",
        ),
        (["--shard", "2/3", "--stats", "s.csv"], "3 shards would write the same s.csv; give each a file of"),
        (["--shard", "2/3", "--report", "r.json"], "called after its number, here --report r_2.json"),
        (["--shard", "2/3", "--stats", "s_1.csv"], "here --stats s_1_2.csv"),
        (["-o", "{file}/out"], "-o: cannot write into "),
        (["--dicom-seg"], "a.nii.gz is no DICOM series, so there is no patient and study to refer to"),
    ],
)
def test_places_that_cannot_be_written_stop_before_any_case(
    checkpoint: Path,
    scans: Path,
    tmp_path: Path,
    words: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").touch()
    places = {"scans": scans, "file": tmp_path / "file"}
    places |= {
        "table": tmp_path / "cases.csv",
        "other": tmp_path / "other.csv",
        "json": tmp_path / "dataset.json",
    }
    kept = {"table": "case_id,image\nx,scans/a.nii.gz\n", "other": "case,age\na,63\n", "json": "{}"}
    for name, content in kept.items():
        places[name].write_text(content)
    monkeypatch.chdir(tmp_path)
    inputs = (scans, tmp_path / "cases.csv")
    assert (
        predict("-i", *inputs, "-o", tmp_path / "out", checkpoint, *(w.format(**places) for w in words)) == 2
    )
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "nowhere").exists()
    assert {name: places[name].read_text() for name in kept} == kept


@pytest.mark.slow
def test_own_tables_and_reports_are_replaced_and_each_shard_has_its_own(
    checkpoint: Path, scans: Path, tmp_path: Path
) -> None:
    found = []
    for number in (1, 2):
        about = ("--stats", tmp_path / f"s_{number:02d}.csv", "--report", tmp_path / f"r{number}.json")
        for _ in range(2):
            words = ("-i", scans, "-o", tmp_path / "out", checkpoint, *about)
            assert predict(*words, "--shard", f"{number}/2") == 0
        found += [row["case"] for row in rows(about[1])]
        assert tuple(rows(about[1])[0])[: len(TABLE_COLUMNS)] == TABLE_COLUMNS
        assert set(REPORT_KEYS) <= set(json.loads(about[3].read_text()))
    assert sorted(found) == ["a", "a", "b", "b"]


def test_a_full_disk_ends_the_run_with_table_and_report(
    checkpoint: Path,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in "abcd":
        tiny_nifti(f"scans/{name}.nii.gz")
    to_filename = nib.Nifti1Image.to_filename

    def until_full(image: nib.Nifti1Image, name: Path) -> None:
        to_filename(image, name)
        if not Path(name).name.startswith(".a"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", until_full)
    out = tmp_path / "out"
    about = ("--stats", tmp_path / "s.csv", "--report", tmp_path / "r.json")
    assert predict("-i", tmp_path / "scans", "-o", out, checkpoint, *about) == 1
    seen = capsys.readouterr()
    assert "1 done, 0 skipped, 2 failed, 1 not finished" in seen.out
    assert (
        seen.err.count("the disk is full (No space left on device); free some space, then run the same") == 2
    )
    assert tree(out) == ["a.nii.gz", "labels.ctbl", "labels.txt"]
    assert {row["case"] for row in rows(tmp_path / "s.csv")} == {"a"}
    statuses = [case["status"] for case in json.loads((tmp_path / "r.json").read_text())["cases"]]
    assert statuses == ["ok", "failed", "failed", "not_finished"]


def test_a_table_that_cannot_be_written_at_the_end_is_told(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "tables" / "s.csv"
    table.parent.mkdir()
    to_filename = nib.Nifti1Image.to_filename

    def and_block_the_table(image: nib.Nifti1Image, name: Path) -> None:
        to_filename(image, name)
        table.mkdir(exist_ok=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nib.Nifti1Image, "to_filename", and_block_the_table)
        assert predict("-i", scans, "-o", tmp_path / "out", checkpoint, "--stats", table) == 1
    assert "cannot be written" in capsys.readouterr().err


def test_an_interruption_leaves_table_and_report_of_what_is_done(
    checkpoint: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    to_filename = nib.Nifti1Image.to_filename

    def interrupted(image: nib.Nifti1Image, name: Path) -> None:
        to_filename(image, name)
        if Path(name).name.startswith(".b"):
            raise KeyboardInterrupt

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", interrupted)
    about = ("--stats", tmp_path / "s.csv", "--report", tmp_path / "r.json")
    assert predict("-i", scans, "-o", tmp_path / "out", checkpoint, *about) == 130
    assert tree(tmp_path / "out") == ["a.nii.gz", "labels.ctbl", "labels.txt"]
    assert {row["case"] for row in rows(tmp_path / "s.csv")} == {"a"}
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["status"], [case["status"] for case in report["cases"]]) == (
        "interrupted",
        ["ok", "not_finished"],
    )


def test_channels_in_another_order_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {
        "class_path": "UNet",
        "init_args": {"spatial_dims": 3, "in_channels": 2, "num_classes": 3, "channels": [4, 8]},
    }
    plan = tiny_plan(channel_names=("T1", "T2"), normalization=("zscore", "zscore"))
    path = save_checkpoint(tmp_path / "two.ckpt", spec=spec, plan=plan)
    (tmp_path / "imagesTs").mkdir()
    for number in (0, 1):
        (tmp_path / "imagesTs" / f"p_{number:04d}.nii.gz").touch()
    (tmp_path / "dataset.json").write_text(
        json.dumps({"channel_names": {"0": "T2", "1": "T1"}, "labels": {}})
    )
    assert predict("-i", tmp_path / "imagesTs", "-o", tmp_path / "out", path) == 2
    assert "its channels are T2, T1, but the network was trained on T1, T2" in capsys.readouterr().err


@pytest.mark.slow
def test_two_jobs_share_a_folder_and_a_terminated_one_leaves_whole_files(
    checkpoint: Path, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    for number in range(30):
        tiny_nifti(f"scans/{number:03d}.nii.gz")
    out = tmp_path / "out"
    words = ["predict", checkpoint, "-i", tmp_path / "scans", "-o", out, "--device", "cpu", "--skip-existing"]

    def job(number: int) -> subprocess.Popen[str]:
        about = ["--stats", tmp_path / f"{number}.csv", "--report", tmp_path / f"{number}.json"]
        line = [sys.executable, "-m", "medconv", *map(str, [*words, *about])]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = job(1)
    while len(list(out.glob("*.nii.gz"))) < 3 and first.poll() is None:
        time.sleep(0.005)
    second = job(2)
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=60)
    assert first.returncode == 143
    assert json.loads((tmp_path / "1.json").read_text())["status"] == "interrupted"
    text, err = second.communicate(timeout=120)
    assert (second.returncode, err) == (0, "")
    assert "0 failed" in text
    assert main([*map(str, words), "--stats", str(tmp_path / "3.csv")]) == 0
    assert tree(out) == sorted([*(f"{n:03d}.nii.gz" for n in range(30)), "labels.ctbl", "labels.txt"])
    assert {row["case"] for row in rows(tmp_path / "3.csv")} == {f"{n:03d}" for n in range(30)}
