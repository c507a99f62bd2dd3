from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_checkpoint import save_checkpoint

from medconv.cli.main import main
from medconv.cli.progress import Progress

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


def files(folder: Path) -> list[str]:
    """All but the two that name the labels for viewers."""
    found = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    return [name for name in found if name not in ("labels.txt", "labels.ctbl")]


def test_recording_is_a_word_of_three_and_has_no_effect_without_a_gpu(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-i", scans / "a.nii.gz", "-o", tmp_path / "mask.nii.gz", checkpoint, "--cuda-graph")
    assert predict(*words, "maybe") == 2
    assert (
        "--cuda-graph: expected one of ['auto', 'true', 'false']. Got value: maybe" in capsys.readouterr().err
    )
    for word, said in (("true", "remark: --cuda-graph has no effect: it needs a GPU\n"), ("auto", "")):
        assert predict(*words, word) == 0
        assert capsys.readouterr().err == said


def test_a_folder_becomes_a_folder_of_masks(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict("-i", scans, "-o", tmp_path / "masks", checkpoint) == 0
    seen = capsys.readouterr()
    assert seen.err == ""
    first, memory, a, b, last = seen.out.splitlines()
    assert re.fullmatch(
        r"memory: at most \d\.\d GiB of main memory, 4 tiles at a time on the CPU \(largest file: [ab]\)",
        memory,
    )
    assert re.fullmatch(r"2 case\(s\) on cpu \(\d+ threads\), float32", first)
    assert re.fullmatch(rf"ok      a  \d+\.\d s  {tmp_path}/masks/a\.nii\.gz", a)
    assert b.startswith("ok      b")
    stages = ", ".join(
        rf"{stage} \d+\.\d s" for stage in ("read", "preprocess", "network", "restore", "write")
    )
    assert re.fullmatch(rf"2 done, 0 skipped, 0 failed in \d+\.\d s \({stages}\)", last)
    for name in ("a.nii.gz", "b.nii.gz"):
        mask, scan = nib.load(tmp_path / "masks" / name), nib.load(scans / name)
        assert mask.shape == scan.shape
        assert mask.get_data_dtype() == np.uint8
        np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-6)


def test_the_checkpoint_may_stand_first_and_options_apply(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["-i", scans / "a.nii.gz", "-i", scans / "b.nii.gz", "-o", tmp_path / "masks", "--mirror"]
    more = ["--overlap", 0.25, "--tile-batch", 2, "--precision", "fp32"]
    assert predict(checkpoint, *words, *more) == 0
    assert "threads), float32, mirrored along axes 0, 1, 2\n" in capsys.readouterr().out
    assert files(tmp_path / "masks") == ["a.nii.gz", "b.nii.gz"]


def test_one_file_becomes_one_file_by_an_ensemble(checkpoint: Path, scans: Path, tmp_path: Path) -> None:
    second = save_checkpoint(tmp_path / "second.ckpt", seed=1)
    assert predict("-i", scans / "a.nii.gz", "-o", tmp_path / "mask.nii", checkpoint, second) == 0
    assert nib.load(tmp_path / "mask.nii").shape == (9, 8, 7)


def test_good_files_are_done_and_bad_ones_named(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "broken.nii.gz").write_bytes((scans / "a.nii.gz").read_bytes()[:100])
    (scans / "text.nii").write_text("this is no volume")
    header = nib.Nifti1Header()
    header.set_sform(np.diag([1.0, 0.0, 1.0, 1.0]), 1)
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), dtype=np.float32), None, header), scans / "singular.nii.gz")
    nan = nib.Nifti1Image(np.full((4, 4, 4), np.nan, dtype=np.float32), np.eye(4))
    nib.save(nan, scans / "nan.nii.gz")
    channels = nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.float32), np.eye(4))
    nib.save(channels, scans / "two.nii.gz")
    assert predict("-i", scans, "-o", tmp_path / "masks", checkpoint) == 1
    seen = capsys.readouterr()
    assert files(tmp_path / "masks") == ["a.nii.gz", "b.nii.gz"]
    assert "2 done, 0 skipped, 5 failed" in seen.out
    told = {line.split(": ")[1]: line for line in seen.err.splitlines()}
    assert set(told) == {"broken", "text", "singular", "nan", "two"}
    for case, remedy in {
        "broken": "copy it again",
        "text": "copy it again",
        "singular": "affine",
        "nan": "NaN",
        "two": "expected 1 channel",
    }.items():
        assert remedy in told[case]
        assert f"{case}.nii" in told[case]


def test_masks_that_exist_are_skipped_if_asked(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("-i", scans, "-o", tmp_path / "masks", checkpoint, "--skip-existing")
    assert predict(*words) == 0
    (tmp_path / "masks" / "b.nii.gz").unlink()
    before = (tmp_path / "masks" / "a.nii.gz").stat().st_mtime_ns
    capsys.readouterr()
    assert predict(*words) == 0
    out = capsys.readouterr().out
    assert "skipped a  0.0 s" in out
    assert "1 done, 1 skipped, 0 failed" in out
    assert (tmp_path / "masks" / "a.nii.gz").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["{ckpt}", "-i", "{scans}", "-o", "{out}", "--skip-exising"], "did you mean '--skip-existing'?"),
        (["{ckpt}", "-i", "{scans}", "-o", "{out}", "--device", "cdua"], "did you mean 'cuda'?"),
        (["{ckpt}", "-i", "{scans}", "-o", "{out}", "--precision", "fp8"], "expected one of ['auto', 'fp32'"),
        (["{ckpt}", "-i", "{scans}", "-o", "{out}", "--overlap", "1"], "expected overlap from 0 up to"),
        (["{ckpt}", "-i", "{scans}", "-o", "{out}", "--tile-batch", "none"], "--tile-batch: expected int"),
        (["-i", "{scans}", "{ckpt}", "-o", "{out}"], "expected a checkpoint, got none. -i takes every word"),
        (["{ckpt}", "-i", "{scans}"], "missing, but required: -o/--output"),
        (["{ckpt}", "-i", "{scans}/x*", "-o", "{out}"], "series matches the pattern"),
        (["{ckpt}", "-i", "{scans}", "-o", "{out}.nii"], "expected a folder for the masks of 2 cases"),
        (["{ckpt}", "-i", "{scans}", "-o", "{scans}"], "would replace an input"),
        (["{ckpt}", "-i", "{scans}", "{twin}", "-o", "{out}"], "would both be written to"),
    ],
)
def test_wrong_words_stop_before_any_case(
    checkpoint: Path,
    scans: Path,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    words: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"ckpt": checkpoint, "scans": scans, "out": tmp_path / "masks"}
    places["twin"] = tiny_nifti("elsewhere/a.nii.gz")
    before = files(scans)
    options = [] if "--device" in words else ["--device", "cpu"]
    assert main(["predict", *(word.format(**places) for word in words), *options]) == 2
    seen = capsys.readouterr()
    assert text in seen.err
    assert seen.err.startswith("medconv predict: ")
    assert "Traceback" not in seen.err
    assert files(scans) == before
    assert not (tmp_path / "masks").exists()


def test_a_damaged_checkpoint_is_told_in_one_line(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(checkpoint.read_bytes()[:500])
    assert predict("-i", scans, "-o", tmp_path / "masks", broken) == 1
    err = capsys.readouterr().err
    assert err == f"medconv predict: {broken}: the file is truncated at 500 bytes; copy it again\n"


def test_an_interruption_says_how_far_it_came(
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
    assert predict("-i", scans, "-o", tmp_path / "masks", checkpoint) == 130
    seen = capsys.readouterr()
    assert files(tmp_path / "masks") == ["a.nii.gz"]
    assert "1 done, 0 skipped, 0 failed, 1 not finished" in seen.out
    assert seen.err == "medconv predict: interrupted\n"


@pytest.mark.slow
def test_control_c_in_a_real_process_leaves_whole_masks_only(
    checkpoint: Path, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    for number in range(200):
        tiny_nifti(f"scans/{number:03d}.nii.gz")
    out = tmp_path / "masks"
    words = ["predict", checkpoint, "-i", tmp_path / "scans", "-o", out, "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "medconv", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test that itself runs in the background inherits a deaf ear for Ctrl-C
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    while len([name for name in files(out) if not name.startswith(".")]) < 3 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "medconv predict: interrupted\n"
    left = files(out)
    assert 3 <= len(left) < 200
    for name in left:
        assert np.asarray(nib.load(out / name).dataobj).shape == (9, 8, 7)


def test_progress_is_shown_on_a_terminal_and_removed() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), "\r\x1b[K[1/2] a …\r\x1b[K[2/2] b …\r\x1b[K"), (io.StringIO(), "")):
        progress = Progress(2, stream)
        assert list(progress.over(["a", "b"], name=str)) == ["a", "b"]
        progress.clear()
        assert stream.getvalue() == shown
