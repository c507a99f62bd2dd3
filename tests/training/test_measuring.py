from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

from medconv.errors import DatasetError
from medconv.metrics import SegmentationTable
from medconv.training.measuring import MeasuringQueue

NAMES = {0: "background", 1: "head", 2: "tail"}


def case(number: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    rng = np.random.default_rng(number)
    maps = np.kron(rng.integers(0, 3, (2, 3, 4, 3)), np.ones((1, 3, 3, 3), int)).astype(np.uint8)
    return maps[0], maps[1], (0.8, 1.0, 2.5)


def in_turn(numbers: range | list[int], *, surfaces: bool = True) -> SegmentationTable:
    table = SegmentationTable(NAMES, surfaces=surfaces)
    for number in numbers:
        table.add(f"case_{number:02}", *case(number))
    return table


def behind(numbers: range | list[int], threads: int, *, surfaces: bool = True) -> SegmentationTable:
    queue = MeasuringQueue(SegmentationTable(NAMES, surfaces=surfaces), threads)
    for number in numbers:
        queue.add(f"case_{number:02}", *case(number))
    queue.finish()
    return queue.table


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("surfaces", [True, False])
def test_threads_give_the_same_table_to_the_last_digit(threads: int, surfaces: bool) -> None:
    expected = in_turn(range(20), surfaces=surfaces).compute().csv_text()
    assert behind(range(20), threads, surfaces=surfaces).compute().csv_text() == expected
    assert behind([], threads).compute().rows == ()


def test_no_more_cases_wait_than_threads_can_soon_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every thread held up, the fifth case has to wait for the first."""
    go, table = threading.Event(), SegmentationTable(NAMES)
    measure = type(table.structures).measure

    def held_up(*given, **settings):
        assert go.wait(20)
        return measure(*given, **settings)

    monkeypatch.setattr(type(table.structures), "measure", held_up)
    queue = MeasuringQueue(table, threads=2)
    waiting = [queue.add(f"case_{n}", *case(n)) for n in range(4)]
    fifth = threading.Thread(target=queue.add, args=("case_4", *case(4)))
    fifth.start()
    fifth.join(0.2)
    assert fifth.is_alive()
    assert not any(rows.done() for rows in waiting)
    go.set()
    fifth.join(20)
    assert not fifth.is_alive()
    queue.finish()
    assert len(table.compute().case_ids) == 5


def test_what_goes_wrong_in_a_thread_surfaces_with_the_name_of_the_case() -> None:
    pred, ref, spacing_mm = case(0)
    queue = MeasuringQueue(SegmentationTable(NAMES))
    queue.add("good", pred, ref, spacing_mm)
    rows = queue.add("bad", np.full_like(pred, 7), ref, spacing_mm)
    with pytest.raises(DatasetError, match=r"case bad: expected labels \[0, 1, 2\] in the prediction"):
        queue.finish()
    assert rows.done()
    queue = MeasuringQueue(SegmentationTable(NAMES), threads=1)
    queue.add("bad", np.full_like(pred, 7), ref, spacing_mm).exception(timeout=20)
    with pytest.raises(DatasetError, match="case bad: expected labels"):
        queue.add("good", pred, ref, spacing_mm)


def measure_share(rank: int, shares: list[list[int]], folder: str) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=len(shares))
    behind(shares[rank], threads=2).compute().to_csv(Path(folder) / f"{rank}.csv")
    dist.destroy_process_group()


@pytest.mark.slow
def test_processes_with_threads_have_the_table_of_one(tmp_path: Path) -> None:
    shares = [[0, 2, 4, 1], [], [1, 3]]
    mp.spawn(measure_share, (shares, str(tmp_path)), nprocs=len(shares))
    expected = in_turn(range(5)).compute().csv_text()
    assert [(tmp_path / f"{rank}.csv").read_text() for rank in range(3)] == [expected] * 3


def test_a_slice_is_measured_in_two_axes_and_unknown_pixels_in_none() -> None:
    ref = np.zeros((12, 12, 1), np.uint8)
    ref[3:9, 3:9] = 1
    pred = np.roll(ref, 2, axis=0)
    queue = MeasuringQueue(SegmentationTable({1: "cell"}))
    known, unknown = (queue.add(name, pred, ref, mm) for name, mm in (("a", (0.5, 0.5, 1.0)), ("b", None)))
    queue.finish()
    ((flat,), (bare,)) = known.result(), unknown.result()
    (expected,) = queue.table.structures.measure("a", pred[..., 0], ref[..., 0], (0.5, 0.5))
    assert (flat.hd_mm, flat.nsd, flat.dice) == (expected.hd_mm, expected.nsd, expected.dice)
    assert flat.hd_mm == 1.0
    assert bare.dice == flat.dice
    assert np.isnan([bare.hd_mm, bare.nsd, bare.ref_volume_ml]).all()
