from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_checkpoint import save_checkpoint

from medconv.inference import Predictor, collect_inputs, plan_outputs, predict_case
from medconv.inference.case_actor import CaseActor
from medconv.inference.case_stages import CaseStages

NiftiFactory = Callable[..., Path]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


@pytest.fixture
def scans(tiny_nifti: NiftiFactory, tmp_path: Path) -> Path:
    for name in "abcd":
        tiny_nifti(f"scans/{name}.nii.gz")
    (tmp_path / "scans/broken.nii.gz").write_bytes(b"not gzip")
    return tmp_path / "scans"


def voxels(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(nib.load(path).dataobj) for path in sorted(folder.iterdir())}


@pytest.mark.slow
def test_threads_get_what_one_case_after_the_other_gets(
    checkpoint: Path, scans: Path, tmp_path: Path
) -> None:
    cases = collect_inputs([scans])
    actor = CaseActor([checkpoint], {"device": "cpu"})
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(actor.predict, cases, plan_outputs(cases, tmp_path / "actor")))
    assert [r.status for r in results] == ["ok", "ok", "failed", "ok", "ok"]  # a, b, broken, c, d
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    for case, output in zip(cases, plan_outputs(cases, tmp_path / "alone"), strict=True):
        predict_case(predictor, case, output)
    one, other = voxels(tmp_path / "actor"), voxels(tmp_path / "alone")
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_done_again_it_skips_or_leaves_the_same_file(checkpoint: Path, scans: Path, tmp_path: Path) -> None:
    (case,) = collect_inputs([scans / "a.nii.gz"])
    output = tmp_path / "a.nii.gz"
    actor = CaseActor([checkpoint], {"device": "cpu"})
    assert actor.predict(case, output).status == "ok"
    first = output.read_bytes()
    assert actor.predict(case, output).status == "ok"
    assert output.read_bytes()[10:] == first[10:]  # gzip notes the time in its header
    kept = CaseActor([checkpoint], {"device": "cpu"}, skip_existing=True)
    assert kept.predict(case, output).status == "skipped"


@pytest.mark.parametrize(("is_large", "most"), [(False, 2), (True, 1)])
def test_two_cases_are_in_memory_and_a_large_one_alone(
    checkpoint: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_large: bool,
    most: int,
) -> None:
    cases = [case for case in collect_inputs([scans]) if case.case_id != "broken"]
    outputs = plan_outputs(cases, tmp_path / "out")
    actor = CaseActor([checkpoint], {"device": "cpu"})
    monkeypatch.setattr(CaseStages, "needs_all_memory", lambda *_: is_large)
    read, lock, inside, seen = CaseStages.read, threading.Lock(), [0], [0]
    write, meet = CaseStages.write, threading.Barrier(most, timeout=20)

    def counted(stages: CaseStages, job: object) -> object:
        with lock:
            inside[0] += 1
            seen[0] = max(seen[0], inside[0])
        meet.wait()  # breaks unless so many get in together
        return read(stages, job)

    def left(stages: CaseStages, way: object) -> object:
        result = write(stages, way)
        with lock:
            inside[0] -= 1
        return result

    monkeypatch.setattr(CaseStages, "read", counted)
    monkeypatch.setattr(CaseStages, "write", left)
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(actor.predict, cases, outputs))
    assert [r.status for r in results] == ["ok"] * 4
    assert seen == [most]


def test_what_needs_all_memory_is_known_from_the_header(checkpoint: Path, scans: Path) -> None:
    case, broken = collect_inputs([scans / "a.nii.gz", scans / "broken.nii.gz"])
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    assert not CaseStages(predictor).needs_all_memory(case)
    assert not CaseStages(predictor).needs_all_memory(broken)
    small = Predictor.from_checkpoint(checkpoint, device="cpu", memory_gb=1e-3)
    assert CaseStages(small).needs_all_memory(case)


def test_a_header_that_fails_in_an_unknown_way_stays_with_its_case(
    checkpoint: Path, scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a header that nobody has thought of")

    (case,) = collect_inputs([scans / "a.nii.gz"])
    monkeypatch.setattr("medconv.io.nifti.read_header", fail)
    monkeypatch.setattr("medconv.inference.case_stages.to_volume", fail)
    result = CaseActor([checkpoint], {"device": "cpu"}).predict(case, tmp_path / "a.nii.gz")
    assert result.status == "failed"
    assert "ZeroDivisionError: a header that nobody has thought of" in result.message
