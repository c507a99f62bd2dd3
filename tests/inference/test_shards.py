from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import tiny_plan
from tiny_dicom import save_series

from medconv.inference import Predictor, predict_cases
from medconv.inference.byte_plan import GIB
from medconv.inference.inputs import InputCase, collect_inputs
from medconv.inference.shards import announce_memory, case_voxels, deal, shard_cases
from medconv.io.nifti import read_header
from medconv.models import UNet

NiftiFactory = Callable[..., Path]


@given(st.lists(st.integers(0, 1000), max_size=40), st.integers(1, 7))
def test_every_item_is_in_exactly_one_shard_and_loads_are_even(sizes: list[int], count: int) -> None:
    shards = deal(sizes, count)
    assert sorted(item for shard in shards for item in shard) == list(range(len(sizes)))
    assert shards == deal(sizes, count)
    loads = [sum(sizes[item] for item in shard) for shard in shards]
    assert max(loads) - min(loads) <= max(sizes, default=0)


@pytest.fixture
def cases(tiny_nifti: NiftiFactory) -> list[InputCase]:
    for n in range(6):
        tiny_nifti(f"in/{n}.nii.gz", np.zeros((4, 4, n + 1), dtype=np.float32))
    path = tiny_nifti("in/broken.nii.gz")
    path.write_bytes(b"not gzip")
    return collect_inputs([path.parent])


def test_jobs_need_not_talk_to_share_the_cases(cases: list[InputCase]) -> None:
    shards = [shard_cases(cases, number, 3) for number in (1, 2, 3)]
    names = [[case.case_id for case in shard] for shard in shards]
    assert sorted(chain(*names)) == ["0", "1", "2", "3", "4", "5", "broken"]
    shuffled = [shard_cases(cases[::-1], number, 3) for number in (1, 2, 3)]
    assert [[case.case_id for case in shard] for shard in shuffled] == names
    loads = [sum(map(case_voxels, shard)) for shard in shards]
    assert max(loads) - min(loads) <= 16 * 1


def test_a_case_that_cannot_be_read_weighs_nothing_but_is_dealt(cases: list[InputCase]) -> None:
    assert {case.case_id: case_voxels(case) for case in cases}["broken"] == 0


def test_a_fault_of_a_reader_is_left_to_the_case_too(
    cases: list[InputCase], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(*_: object) -> None:
        raise ValueError("cannot reshape array")

    monkeypatch.setattr("medconv.inference.shards.reader_for", faulty)
    assert case_voxels(cases[0]) == 0
    assert announce_memory(predictor, cases) == ("", True)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    network = UNet(3, 1, 3, channels=(4, 8)).eval()
    return Predictor([network], [tiny_plan()], device="cpu", tile_batch=1)


def largest(predictor: Predictor, path: Path, **options: bool) -> int:
    header = read_header(path)
    return predictor.byte_plan(header.geometry, header.shape, **options).host_bytes


def test_the_largest_case_is_the_one_with_most_voxels(
    predictor: Predictor, tiny_nifti: NiftiFactory, rng: np.random.Generator
) -> None:
    small = tiny_nifti("in/small.nii.gz", rng.normal(size=(20, 20, 20)).astype(np.float32))
    large = tiny_nifti("in/large.nii.gz", np.zeros((40, 40, 40), np.float32))
    assert small.stat().st_size > large.stat().st_size
    words, has_room = announce_memory(predictor, collect_inputs([small.parent]))
    assert words.endswith("(largest file: large)")
    assert has_room


def test_a_series_of_dicom_slices_is_as_large_as_its_voxels(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path
) -> None:
    series, file = save_series(tmp_path / "series"), tiny_nifti("file.nii", np.zeros((2, 2, 2), np.float32))
    cases = [InputCase("file", (file,)), InputCase("series", (series,))]
    assert announce_memory(predictor, cases)[0].endswith("(largest file: series)")


def test_probabilities_are_announced_too(
    predictor: Predictor, tiny_nifti: NiftiFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tiny_nifti(f"{n}.nii", np.zeros((40, 40, 40), np.float32)) for n in "ab"]
    cases = [InputCase(path.stem, (path,)) for path in paths]
    without = largest(predictor, paths[0], overlapped=True)
    both = largest(predictor, paths[0], overlapped=True, probabilities=True)
    alone = largest(predictor, paths[0], probabilities=True)
    assert alone < without < both
    monkeypatch.setattr(predictor._plans, "_memory_gb", without / GIB)
    assert announce_memory(predictor, cases)[1]
    words, has_room = announce_memory(predictor, cases, probabilities=True)
    assert not has_room
    assert ", one case after the other (largest file: a)" in words


def test_a_case_that_does_not_fit_beside_others_is_done_alone(
    predictor: Predictor, tiny_nifti: NiftiFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": 8, "b": 40, "c": 8}
    paths = {name: tiny_nifti(f"{name}.nii", np.zeros((n,) * 3, np.float32)) for name, n in sizes.items()}
    alone, beside = (largest(predictor, paths["b"], overlapped=overlapped) for overlapped in (False, True))
    monkeypatch.setattr(predictor._plans, "_memory_gb", (alone + beside) / 2 / GIB)
    jobs = [(InputCase(name, (path,)), tmp_path / "out" / path.name) for name, path in paths.items()]
    results = list(predict_cases(predictor, jobs, overlap=True))
    assert [(r.case_id, r.status) for r in results] == [("a", "ok"), ("b", "ok"), ("c", "ok")]
    monkeypatch.setattr(predictor._plans, "_memory_gb", 0.01)
    results = list(predict_cases(predictor, jobs, overlap=True))
    assert [r.status for r in results] == ["failed"] * 3
    assert "expected to need at most 0.01 GiB of memory" in results[0].message
