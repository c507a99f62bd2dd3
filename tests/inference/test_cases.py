from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_checkpoint import tiny_plan
from torch import Tensor, nn

from medconv.inference import (
    InputCase,
    Prediction,
    Predictor,
    collect_inputs,
    plan_outputs,
    predict_case,
    predict_cases,
)
from medconv.inference import case_stages as stages_module
from medconv.inference import cases as cases_module
from medconv.inference.companions import PerClass, Place, Probabilities
from medconv.inference.pipeline import WritingRoom
from medconv.io import Volume
from medconv.io.claim import claim

NiftiFactory = Callable[..., Path]


class Threshold(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([100 - x, x - 100], dim=1)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    plan = tiny_plan(normalization=("none",), label_names={0: "background", 1: "bright"})
    return Predictor([Threshold()], [plan], device="cpu")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bad_case_costs_one_mask(predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path) -> None:
    for name in ("a.nii.gz", "c.nii.gz"):
        tiny_nifti(f"in/{name}")
    (tmp_path / "in" / "b.nii.gz").write_bytes((tmp_path / "in" / "a.nii.gz").read_bytes()[:200])
    cases = collect_inputs([tmp_path / "in"])
    jobs = zip(cases, plan_outputs(cases, tmp_path / "out"), strict=True)
    results = list(predict_cases(predictor, jobs))
    assert [(r.case_id, r.status) for r in results] == [("a", "ok"), ("b", "failed"), ("c", "ok")]
    assert "b.nii.gz" in results[1].message
    assert "copy it again" in results[1].message
    assert files(tmp_path / "out") == ["a.nii.gz", "c.nii.gz"]
    assert all(r.seconds > 0 for r in results)


def test_masks_that_exist_are_left_alone_if_asked(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    case, output = InputCase("a", (tiny_nifti("a.nii.gz"),)), tmp_path / "out" / "a.nii.gz"
    assert predict_case(predictor, case, output).status == "ok"
    first = (output.stat().st_mtime_ns, output.read_bytes())
    skipped = predict_case(predictor, case, output, skip_existing=True)
    assert (skipped.status, skipped.message) == ("skipped", "its mask exists")
    assert (output.stat().st_mtime_ns, output.read_bytes()) == first
    assert predict_case(predictor, case, output).status == "ok"
    np.testing.assert_array_equal(
        np.asarray(nib.load(output).dataobj), np.asarray(nib.load(case.paths[0]).dataobj) > 100
    )
    assert output.stat().st_mtime_ns != first[0]


def test_a_case_known_to_be_bad_is_told(predictor: Predictor, tmp_path: Path) -> None:
    case = InputCase("p", (tmp_path / "p_0000.nii.gz",), problem="expected the channels p_0000, p_0001")
    result = predict_case(predictor, case, tmp_path / "p.nii.gz")
    assert (result.status, result.message) == ("failed", "expected the channels p_0000, p_0001")


def test_a_full_disk_fails_the_case_and_leaves_nothing(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, output = InputCase("a", (tiny_nifti("a.nii.gz"),)), tmp_path / "out" / "a.nii.gz"

    def full(image: nib.Nifti1Image, name: Path) -> None:
        Path(name).write_bytes(b"half a mask")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    result = predict_case(predictor, case, output)
    assert result.status == "failed"
    assert result.found_disk_full
    assert result.message == (
        f"{output}: nothing was written, the disk is full (No space left on device); free some space, then run the "
        "same command with --skip-existing"
    )
    assert files(tmp_path / "out") == []


def test_a_fault_in_one_case_is_reported_with_its_kind(tiny_nifti: NiftiFactory, tmp_path: Path) -> None:
    class Faulty(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise IndexError("a bug")

    predictor = Predictor([Faulty()], [tiny_plan()], device="cpu")
    case = InputCase("a", (tiny_nifti("a.nii.gz"),))
    result = predict_case(predictor, case, tmp_path / "out.nii.gz")
    assert result.message == f"{case.paths[0]}: IndexError: a bug"


def test_an_interruption_is_not_swallowed_and_leaves_nothing(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(image: nib.Nifti1Image, name: Path) -> None:
        Path(name).write_bytes(b"half a mask")
        raise KeyboardInterrupt

    case = InputCase("a", (tiny_nifti("a.nii.gz"),))
    monkeypatch.setattr(nib.Nifti1Image, "to_filename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict_case(predictor, case, tmp_path / "out" / "a.nii.gz")
    assert files(tmp_path / "out") == []


def test_warnings_become_remarks(predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path) -> None:
    array = np.zeros((6, 6, 6), dtype=np.float32)
    array[0] = 200
    case = InputCase("a", (tiny_nifti("a.nii", array, np.diag([0.8, 0.8, 10.0, 1.0])),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = predict_case(predictor, case, tmp_path / "mask.nii")
    assert result.status == "ok"
    assert "voxels of 0.8 × 0.8 × 10 mm are up to 4.0 times off the 0.8 × 0.8 × 2.5 mm" in result.message


def test_two_full_disks_in_a_row_stop_the_run_and_one_does_not(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_filename = nib.Nifti1Image.to_filename
    full = {"b", "d", "e"}

    def sometimes(image: nib.Nifti1Image, name: Path) -> None:
        if Path(name).name[1] in full:
            raise OSError(28, "No space left on device")
        to_filename(image, name)

    jobs = [(InputCase(n, (tiny_nifti(f"{n}.nii"),)), tmp_path / "out" / f"{n}.nii") for n in "abcdef"]
    monkeypatch.setattr(nib.Nifti1Image, "to_filename", sometimes)
    monkeypatch.setattr(cases_module, "WRITING_ROOM", WritingRoom())
    results = list(predict_cases(predictor, jobs))
    assert [(r.case_id, r.status) for r in results] == [
        ("a", "ok"),
        ("b", "failed"),
        ("c", "ok"),
        ("d", "failed"),
        ("e", "failed"),
    ]
    assert files(tmp_path / "out") == ["a.nii", "c.nii"]


@pytest.mark.parametrize("overlap", [True, False])
def test_what_is_being_written_while_the_disk_is_full_is_told(
    predictor: Predictor,
    tiny_nifti: NiftiFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overlap: bool,
) -> None:
    to_filename = nib.Nifti1Image.to_filename
    is_last_begun = threading.Event()

    def sometimes(image: nib.Nifti1Image, name: Path) -> None:
        if Path(name).name[1] in "ab":
            assert is_last_begun.wait(10)
            raise OSError(28, "No space left on device")
        if Path(name).name[1] == "d":
            is_last_begun.set()
        to_filename(image, name)

    jobs = [(InputCase(n, (tiny_nifti(f"{n}.nii"),)), tmp_path / "out" / f"{n}.nii") for n in "abcdefghi"]
    monkeypatch.setattr(nib.Nifti1Image, "to_filename", sometimes)
    monkeypatch.setattr(cases_module, "WRITING_ROOM", WritingRoom(4, 2**30))
    if not overlap:
        is_last_begun.set()
    results = list(predict_cases(predictor, jobs, overlap=overlap))
    assert [r.status for r in results[:2]] == ["failed", "failed"]
    assert files(tmp_path / "out") == [r.output.name for r in results[2:]]
    assert len(results) < len(jobs)
    assert len(results) >= (4 if overlap else 2)


def test_cases_that_are_written_together_keep_their_own_files_and_remarks(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(4)
    save = Prediction.save

    def save_together(prediction: Prediction, path: str | Path) -> Path:
        together.wait(10)
        warnings.warn(f"written to {Path(path).name}", stacklevel=1)
        return save(prediction, path)

    rng = np.random.default_rng(0)
    images = [tiny_nifti(f"{n}.nii.gz", rng.normal(0, 200, (6, 6, 6)).astype(np.float32)) for n in range(8)]
    for room, folder in ((WritingRoom(), "one"), (WritingRoom(4, 2**30), "four")):
        monkeypatch.setattr(cases_module, "WRITING_ROOM", room)
        jobs = [(InputCase(image.stem, (image,)), tmp_path / folder / image.name) for image in images]
        place = Place(is_alone=False)
        companions = [PerClass(place, predictor.label_names), Probabilities(place)]
        results = list(predict_cases(predictor, jobs, companions=companions, measure=True))
        assert [r.case_id for r in results] == [image.stem for image in images]
        assert {r.status for r in results} == {"ok"}
        if folder == "one":
            alone = [r.structures for r in results]
            monkeypatch.setattr(Prediction, "save", save_together)
    assert [r.structures for r in results] == alone
    assert all(f"written to {r.output.name}" in r.message for r in results)
    assert all(r.message.count("written to") == 1 for r in results)
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.nii.gz"))
    assert len(written) == 8 * (1 + 1 + len(predictor.label_names) - 1)
    for path in written:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "four" / path).read_bytes()


def test_a_case_that_another_job_is_making_is_left_to_it(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    case, output = InputCase("a", (tiny_nifti("a.nii"),)), tmp_path / "out" / "a.nii"
    with claim(output):
        result = predict_case(predictor, case, output)
        assert (result.status, result.message) == ("skipped", "another job is making it")
        assert not output.exists()
    assert predict_case(predictor, case, output).status == "ok"
    assert files(tmp_path / "out") == ["a.nii"]


def test_a_case_stays_claimed_while_a_thread_is_at_it(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [(InputCase(n, (tiny_nifti(f"{n}.nii"),)), tmp_path / "out" / f"{n}.nii") for n in "abcd"]
    to_volume, reading, is_free = stages_module.to_volume, threading.Event(), []

    def slow(paths: tuple[Path, ...], *rest: Any, **named: Any) -> Volume:
        if paths[0].name == "c.nii":
            reading.set()
            time.sleep(0.2)
            with claim(tmp_path / "out" / "c.nii") as mine:
                is_free.append(mine)
        return to_volume(paths, *rest, **named)

    monkeypatch.setattr(stages_module, "to_volume", slow)
    results = predict_cases(predictor, jobs)
    assert next(results).case_id == "a"
    assert reading.wait(10)
    results.close()
    assert is_free == [False]
    assert not any(t.name.startswith("medconv") for t in threading.enumerate())
    assert files(tmp_path / "out") == ["a.nii"]  # and no lock


def test_a_mask_that_another_job_finished_meanwhile_is_not_made_again(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, output = InputCase("a", (tiny_nifti("a.nii"),)), tmp_path / "out" / "a.nii"

    @contextmanager
    def after_the_other(target: Path) -> Iterator[bool]:
        monkeypatch.undo()
        assert predict_case(predictor, case, target).status == "ok"
        yield True

    monkeypatch.setattr(stages_module, "claim", after_the_other)
    result = predict_case(predictor, case, output, skip_existing=True)
    assert (result.status, result.message) == ("skipped", "its mask exists")


def test_a_case_is_done_when_its_companions_are(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    case, output = InputCase("a", (tiny_nifti("a.nii"),)), tmp_path / "out" / "a.nii"
    companions = [
        Probabilities(Place(is_alone=False)),
        PerClass(Place(is_alone=False), predictor.label_names),
    ]
    assert predict_case(predictor, case, output).status == "ok"
    again = predict_case(predictor, case, output, skip_existing=True, companions=companions, measure=True)
    assert again.status == "ok"
    assert 0.9 < (again.structures[0].mean_probability or 0) < 1
    assert set(again.stages) == {"read", "preprocess", "network", "restore", "measure", "write"}
    made = [path for companion in companions for path in companion.files(output)]
    assert all(path.is_file() for path in made)
    assert (
        predict_case(predictor, case, output, skip_existing=True, companions=companions).status == "skipped"
    )
    made[-1].unlink()
    assert predict_case(predictor, case, output, skip_existing=True, companions=companions).status == "ok"


def test_a_mask_appears_after_its_companions(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    seen = []

    class Watching(PerClass):
        def write(self, prediction: Prediction, mask: Path) -> None:
            seen.append(mask.exists())
            super().write(prediction, mask)

    case, output = InputCase("a", (tiny_nifti("a.nii"),)), tmp_path / "out" / "a.nii"
    watching = Watching(Place(is_alone=False), predictor.label_names)
    assert predict_case(predictor, case, output, companions=[watching]).status == "ok"
    assert seen == [False]


def test_a_folder_that_cannot_be_made_fails_the_case(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    result = predict_case(predictor, InputCase("a", (tiny_nifti("a.nii"),)), tmp_path / "file" / "a.nii")
    assert (result.status, result.found_disk_full) == ("failed", False)
    assert "NotADirectoryError" in result.message or "FileExistsError" in result.message


def test_the_same_warning_is_one_remark(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    class Twice(PerClass):
        def write(self, prediction: Prediction, mask: Path) -> None:
            for _ in range(2):
                warnings.warn("once is enough", UserWarning, stacklevel=1)

        def files(self, mask: Path) -> tuple[Path, ...]:
            return ()

    case = InputCase("a", (tiny_nifti("a.nii"),))
    twice = Twice(Place(is_alone=False), predictor.label_names)
    assert predict_case(predictor, case, tmp_path / "m.nii", companions=[twice]).message == "once is enough"
