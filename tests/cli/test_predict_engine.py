"""The options of `medconv predict` that say how it computes, and how many share the work."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_checkpoint import save_checkpoint, tiny_plan

from medconv.cli.main import main

NiftiFactory = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


@pytest.fixture(scope="module")
def oblong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of voxels of 0.8 mm × 0.8 mm × 2.5 mm and a patch that is no square."""
    plan = tiny_plan(patch_size=(12, 8, 8))
    return save_checkpoint(tmp_path_factory.mktemp("oblong") / "oblong.ckpt", plan=plan)


@pytest.fixture
def scans(tiny_nifti: NiftiFactory, tmp_path: Path) -> Path:
    for name in "abcde":
        tiny_nifti(f"scans/{name}.nii.gz")
    return tmp_path / "scans"


def predict(*words: object) -> int:
    return main(["predict", *map(str, words)])


def masks(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted(folder.glob("*.nii.gz"))}


@pytest.mark.slow
def test_shards_together_are_the_whole(checkpoint: Path, scans: Path, tmp_path: Path) -> None:
    words = (checkpoint, "-i", scans, "--device", "cpu")
    assert predict(*words, "-o", tmp_path / "whole") == 0
    found: list[str] = []
    for number in (1, 2, 3):
        before = set(masks(tmp_path / "parts"))
        assert predict(*words, "-o", tmp_path / "parts", "--shard", f"{number}/3") == 0
        new = set(masks(tmp_path / "parts")) - before
        assert 1 <= len(new) <= 2
        found += new
    assert sorted(found) == [f"{name}.nii.gz" for name in "abcde"]
    whole, parts = masks(tmp_path / "whole"), masks(tmp_path / "parts")
    assert all(np.array_equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_devices_share_the_cases_and_the_worst_exit_code_is_told(
    checkpoint: Path, scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (scans / "broken.nii.gz").write_bytes(b"not gzip")
    words = (checkpoint, "-i", scans, "--device", "cpu", "-o", tmp_path / "masks")
    assert predict(*words, "--devices", "2") == 1
    seen = capfd.readouterr()
    assert len(masks(tmp_path / "masks")) == 5
    assert {line[:3] for line in seen.out.splitlines()} == {"[0]", "[1]"}
    assert len(re.findall(r"failed: broken", seen.err)) == 1


@pytest.mark.slow
def test_a_terminated_command_leaves_no_process_behind(
    checkpoint: Path, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    for number in range(60):
        tiny_nifti(f"many/{number:03d}.nii.gz")
    out = tmp_path / "masks"
    words = ["predict", checkpoint, "-i", tmp_path / "many", "-o", out, "--device", "cpu", "--devices", "2"]
    job = subprocess.Popen(
        [sys.executable, "-m", "medconv", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(out.glob("*.nii.gz")) and job.poll() is None:
        time.sleep(0.005)
    children = [int(n) for n in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
    assert len(children) == 2
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=60) == 143
    assert not [child for child in children if Path(f"/proc/{child}").exists()]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_postprocessing_is_learned_and_applied(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, clean, rules = tmp_path / "raw", tmp_path / "clean", tmp_path / "rules.yaml"
    words = (checkpoint, "-i", scans, "--device", "cpu")
    assert predict(*words, "-o", raw) == 0
    # references as if only the largest component of each class were true
    rules.write_text("postprocessing: {1: {largest_component: true}, 2: {largest_component: true}}")
    assert predict(*words, "-o", tmp_path / "labels", "--postprocessing", rules) == 0
    capsys.readouterr()
    learned = tmp_path / "learned.yaml"
    assert main(["tune-postprocessing", str(raw), str(tmp_path / "labels"), "-o", str(learned)]) == 0
    out = capsys.readouterr().out
    assert "5 case(s) decided" in out
    assert re.search(r"head +Dice 0\.\d{4} -> 1\.0000  largest component", out)
    assert predict(*words, "-o", clean, "--postprocessing", learned) == 0
    truth = masks(tmp_path / "labels")
    assert all(np.array_equal(truth[name], labels) for name, labels in masks(clean).items())
    again = ["tune-postprocessing", str(checkpoint), str(tmp_path / "labels"), "-i", str(scans)]
    assert main([*again, "-o", str(tmp_path / "again.yaml"), "--device", "cpu"]) == 0
    assert (tmp_path / "again.yaml").read_text() == learned.read_text()


def test_memory_is_announced_and_a_limit_is_kept(
    checkpoint: Path, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (checkpoint, "-i", scans / "a.nii.gz", "--device", "cpu", "-o", tmp_path / "masks")
    assert predict(*words, "--memory-gb", "0.01") == 1
    seen = capsys.readouterr()
    assert "memory: " in seen.out
    assert "expected to need at most 0.01 GiB of memory, but it takes at most" in seen.err
    assert "raise --memory-gb" in seen.err
    assert predict(*words, "--memory-gb", "64") == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--shard", "4/3"), "--shard: expected i/n with i from 1 to n, such as 3/8, got '4/3'"),
        (("--shard", "x"), "got 'x'"),
        (("--devices", "0"), "expected --devices from 1"),
        (("--memory-gb", "0"), "--memory-gb above 0, got 1 and 0.0"),
        (("--blend", "cosine"), "--blend: expected one of ['gaussian', 'crop']"),
        (("--devices", "2", "--device", "cuda:1"), "expected --device cuda or cpu, got 'cuda:1'"),
        (
            ("--devices", "2", "--report", "run.json"),
            "every device would write the same --stats, --region-table or --report",
        ),
        (("--postprocessing", "none.yaml"), "no file none.yaml; expected a YAML file of rules"),
        (("--rotate",), "expected a plane in which voxels and patch are square"),
    ],
)
def test_wrong_words_are_told(
    oblong: Path,
    scans: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    device = () if "--device" in words else ("--device", "cpu")
    assert predict(oblong, "-i", scans, "-o", tmp_path / "out", *words, *device) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("masks", "labels", "-i", "images"), "-i goes with a checkpoint"),
        (
            ("masks", "labels", "--mirror"),
            "--mirror goes with a checkpoint; a folder of masks needs no network",
        ),
        (("masks", "labels", "--channel", "1"), "--channel goes with a checkpoint; a folder of masks needs"),
        (("masks", "labels", "--plugin", "mine"), "--plugin goes with a checkpoint; a folder of masks needs"),
        (("masks", "labels", "--device", "cuda"), "--device goes with a checkpoint; a folder of masks needs"),
        (("x.ckpt", "labels"), "a checkpoint needs the images of the validation cases"),
        (("masks", "labels", "-o", "rules.txt"), "expected a file ending in .yaml"),
        (("none", "labels"), "no prediction file or folder none"),
    ],
)
def test_wrong_words_of_tuning_are_told(
    tmp_path: Path,
    tiny_nifti: NiftiFactory,
    words: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny_nifti("labels/a.nii.gz", np.zeros((4, 4, 4), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert main(["tune-postprocessing", *words]) == 2
    assert text in capsys.readouterr().err


def test_what_a_share_says_is_passed_on_whatever_its_bytes(
    checkpoint: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    start, said = subprocess.Popen, r"sys.stdout.buffer.write(b'ok M\xfcller\nok b\n')"
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **how: start([sys.executable, "-c", f"import sys; {said}"], **how)
    )
    assert (
        predict(checkpoint, "-i", scans, "-o", tmp_path / "masks", "--device", "cpu", "--devices", "2") == 0
    )
    told = sorted(capsys.readouterr().out.splitlines())
    assert told == [rf"[{n}] ok {name}" for n in (0, 1) for name in (r"M\xfcller", "b")]


def test_tuning_replaces_earlier_rules_and_nothing_else(
    tmp_path: Path,
    tiny_nifti: NiftiFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for folder in ("masks", "labels"):
        tiny_nifti(f"{folder}/a.nii.gz", np.ones((4, 4, 4), np.uint8))
    monkeypatch.chdir(tmp_path)
    words = ["tune-postprocessing", "masks", "labels", "-o", "rules.yaml"]
    assert (main(words), main(words)) == (0, 0)
    plan = Path("plan.yaml")
    plan.write_text("schema: 1\n")
    capsys.readouterr()
    assert main([*words[:-1], "plan.yaml"]) == 2
    assert (
        "-o: plan.yaml exists and holds no rules, so it is not replaced; name another"
        in capsys.readouterr().err
    )
    assert plan.read_text() == "schema: 1\n"
