"""Many pairs in one process or several: the same outcomes, and processes only where they pay."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from medconv.errors import ConfigError
from medconv.evaluation import Pair, in_processes, measure_pairs


def pairs(count: int) -> list[Pair]:
    return [Pair(f"case_{n}", Path(f"p{n}.nii"), Path(f"r{n}.nii")) for n in range(count)]


@dataclass(frozen=True)
class ProcessNumber:
    """Measures nothing but who measures; breaks off its process at one case."""

    deadly: str = ""

    def measure_files(self, pair: Pair) -> list[tuple[str, int]]:
        if pair.case_id == self.deadly:
            os._exit(1)
        return [(pair.case_id, os.getpid())]


@pytest.fixture
def eager(monkeypatch):
    """Processes are taken as if cases took long, after a trial of one case."""
    monkeypatch.setattr(in_processes, "_TRIAL_S", 1e-9)
    monkeypatch.setattr(in_processes, "_START_S", 0.0)
    monkeypatch.setattr(in_processes.multiprocessing, "cpu_count", lambda: 2)


@pytest.mark.parametrize("workers", [0, 1])
def test_few_quick_cases_stay_in_this_process(workers):
    outcomes = list(measure_pairs(pairs(20), ProcessNumber(), workers))
    assert [outcome.rows[0] for outcome in outcomes] == [(f"case_{n}", os.getpid()) for n in range(20)]


@pytest.mark.slow
def test_cases_that_take_long_are_dealt_to_processes(eager):
    outcomes = list(measure_pairs(pairs(9), ProcessNumber()))
    assert sorted(outcome.pair.case_id for outcome in outcomes) == [f"case_{n}" for n in range(9)]
    where = [pid for outcome in outcomes for _, pid in outcome.rows]
    assert where.count(os.getpid()) == 1  # the trial


@pytest.mark.slow
def test_a_process_that_dies_is_told_and_costs_no_case_its_outcome():
    outcomes = list(measure_pairs(pairs(9), ProcessNumber(deadly="case_4"), workers=2))
    assert sorted(outcome.pair.case_id for outcome in outcomes) == [f"case_{n}" for n in range(9)]
    problem = next(outcome.problem for outcome in outcomes if outcome.pair.case_id == "case_4")
    assert problem == "a worker process ended abruptly (out of memory?); try --workers 1"


def test_nothing_to_measure_starts_nothing(monkeypatch):
    monkeypatch.setattr(in_processes, "ProcessPoolExecutor", None)
    assert [list(measure_pairs([], None, workers)) for workers in (0, 1, 4)] == [[], [], []]


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(ConfigError, match="expected 0 or more workers, got -1"):
        list(measure_pairs(pairs(1), None, workers=-1))


def test_a_process_that_measures_loads_neither_pytorch_nor_pictures():
    heavy = {"torch", "monai", "lightning", "matplotlib", "skimage", "pandas"}
    code = f"import sys, medconv.evaluation; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
