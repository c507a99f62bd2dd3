"""`medconv predict --engine ray`: nothing is lost when an actor dies, and nothing of Ray stays behind."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import Namespace
from tiny_checkpoint import save_checkpoint

from medconv.cli.main import main
from medconv.inference import CaseResult, InputCase

ROOT = Path(__file__).parents[2]
NiftiFactory = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


def family_of(root: int) -> list[int]:
    """Everything that a process started, read from ``/proc``."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found


def runs(pid: int) -> bool:
    """Whether a process is there and more than an entry that nobody has taken notice of."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_killed_actor_costs_nothing_and_a_rerun_does_what_is_missing(tmp_path: Path) -> None:
    """30 files, one broken, one actor killed: as the benchmark does it with 300."""
    words = [
        "--work",
        "scratch",
        "--results",
        "results",
        "--cases",
        "30",
        "--device",
        "cpu",
        "--parts",
        "actor",
    ]
    script = [sys.executable, str(ROOT / "benchmarks/scale.py"), *words]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((tmp_path / "results/scale.json").read_text())
    (row,) = record["rows"]
    assert (row["killed"], row["masks"], row["exit_code"], row["equal_to_plain"]) == (1, 29, 1, True)
    assert len(row["failures"]) == 1
    assert "case007.nii.gz: damaged or not NIfTI" in row["failures"][0]
    assert row["rerun"]["counts"] == {"ok": 0, "skipped": 29, "failed": 1}
    assert row["mended"]["counts"] == {"ok": 1, "skipped": 29, "failed": 0}
    assert row["rerun"]["touched"] == row["mended"]["touched"] == 0
    assert (row["processes_left"], row["hidden_files_left"]) == (0, 0)
    assert row["ports"] > row["ports_open_to_others"] == 0


@pytest.mark.slow
def test_an_interruption_ends_ray_and_leaves_no_half_file(
    checkpoint: Path, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    for number in range(200):
        tiny_nifti(f"many/{number:03d}.nii.gz")
    out, report = tmp_path / "masks", tmp_path / "run.json"
    words = ["predict", checkpoint, "-i", tmp_path / "many", "-o", out, "--device", "cpu", "--engine", "ray"]
    job = subprocess.Popen(
        [sys.executable, "-m", "medconv", *map(str, words), "--mirror", "--report", str(report)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell starts what it runs in the background deaf to Ctrl-C, and so are its children
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert job.stdout is not None
    told = [
        line
        for line, _ in zip((line for line in job.stdout if line.startswith("ok ")), range(3), strict=False)
    ]
    assert len(told) == 3  # each case is told when it is done, not at the end
    started = family_of(job.pid)
    assert started
    os.killpg(job.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
    _, errors = job.communicate(timeout=180)
    assert job.returncode == 130
    assert errors.strip() == "medconv predict: interrupted"
    end = time.monotonic() + 60
    while any(map(runs, started)) and time.monotonic() < end:
        time.sleep(0.05)  # the last helper of Ray ends a moment after its command
    assert not [pid for pid in started if runs(pid)]
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    record = json.loads(report.read_text())
    assert record["status"] == "interrupted"
    assert 3 <= record["counts"]["ok"] < 200
    assert record["machine"]["device"].startswith("1 Ray actor(s), each with ")


# ---------------------------------------------------------------- without starting Ray


def test_a_missing_extra_is_told_before_anything_is_loaded(
    checkpoint: Path,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "medconv.cli.predict_devices.find_spec", lambda name: None if name == "ray" else find(name)
    )
    words = [checkpoint, "-i", tiny_nifti("a.nii.gz"), "-o", tmp_path / "out", "--engine", "ray"]
    assert main(["predict", *map(str, words)]) == 2
    text = "--engine ray needs Ray with its data library; pip install 'medconv[ray]'"
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--engine", "dask"), "--engine: expected one of ['local', 'ray']"),
        (
            ("--engine", "ray", "--device", "mps"),
            "--engine ray chooses devices itself: expected --device auto,",
        ),
        (
            ("--engine", "ray", "--device", "cuda", "--devices", "9"),
            "--devices: expected at most the 0 GPU(s) that there are, got 9",
        ),
    ],
)
def test_wrong_words_are_told(
    checkpoint: Path,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    words: tuple[str, ...],
    text: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    start = [checkpoint, "-i", tiny_nifti("a.nii.gz"), "-o", tmp_path / "out"]
    assert main(["predict", *map(str, start), *words]) == 2
    assert text in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_told_at_once(
    checkpoint: Path,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)
    words = [checkpoint, "-i", tiny_nifti("a.nii.gz"), "-o", tmp_path / "out", "--engine", "ray"]
    assert main(["predict", *map(str, words)]) == 1
    assert (
        f"expected a Ray that runs at RAY_ADDRESS={address}, with RAY_AUTH_MODE as it is here: "
        in capsys.readouterr().err
    )
    assert not list((tmp_path / "out").glob("*.nii.gz"))
    assert not {"RAY_BACKEND_LOG_LEVEL", "RAY_DATA_LOGGING_CONFIG"} & set(os.environ)


def test_an_address_that_is_set_to_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from medconv.cli import predict_ray

    class StartedError(Exception):
        pass

    def start(*_: object) -> None:
        raise StartedError

    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.setattr(predict_ray, "_local_start", start)
    with pytest.raises(StartedError), predict_ray.ray_pool(Namespace(device="cpu", devices=1)):
        pass


class Lossy:
    """Stands for Ray: rows of the cases that come through; each pass loses others."""

    def __init__(self, lost: list[set[int]], full: set[int] = frozenset()) -> None:
        self.lost, self.full = lost, full
        self.asked: list[tuple[list[int], int]] = []

    def __call__(self, numbers: list[int], _: Any, calls: int) -> Iterator[dict[str, Any]]:
        self.asked.append((numbers, calls))
        for number in numbers:
            if number not in self.lost[len(self.asked) - 1]:
                is_full = number in self.full
                status = "failed" if is_full else "ok"
                result = CaseResult(f"c{number}", status, 1.0, "", Path("x"), found_disk_full=is_full)
                yield {"number": number, "result": pickle.dumps(result)}


def results_of(ray: Lossy, count: int, monkeypatch: pytest.MonkeyPatch) -> list[CaseResult]:
    from medconv.cli.predict_ray import RayPool

    monkeypatch.setattr(RayPool, "_rows", lambda _, *words: ray(*words))
    jobs = [(InputCase(f"c{n}", (Path(f"c{n}.nii"),)), Path(f"out/c{n}.nii")) for n in range(count)]
    return list(RayPool(2, "cpu", 1).predict(jobs, ["x.ckpt"], {}))


def test_what_ends_with_its_process_is_tried_alone_and_then_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = Lossy([{1, 3}, {3}])
    results = results_of(ray, 5, monkeypatch)
    assert ray.asked == [([0, 1, 2, 3, 4], 2), ([1, 3], 1)]
    assert [(r.case_id, r.status) for r in results[-2:]] == [("c1", "ok"), ("c3", "failed")]
    assert results[-1].message.startswith("c3.nii: its process ended each time that it was tried")
    assert "--skip-existing" in results[-1].message
    assert len(results) == 5


def test_a_full_disk_ends_it_after_two_cases_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    results = results_of(Lossy([set(), set()], full={1, 3, 4}), 9, monkeypatch)
    assert [r.case_id for r in results] == ["c0", "c1", "c2", "c3", "c4"]


def test_the_pool_says_what_each_actor_has() -> None:
    from medconv.cli.predict_ray import RayPool

    assert RayPool(2, "cuda", 4).words == "2 Ray actor(s), each with a GPU"
    assert RayPool(1, "cpu", 4).words == "1 Ray actor(s), each with 4 CPU core(s)"
