"""Measure many pairs of files, in several processes where that pays, with no more in memory than is in work."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from time import perf_counter

from medconv.errors import ConfigError
from medconv.evaluation.measure import CaseOutcome, Measured, measure_pair
from medconv.evaluation.pairs import Pair

_TRIAL_S = 0.5
"""After so long in this process it is known how long a case takes."""

_START_S = 3.0
"""What processes must save to be worth their start (measured: all of them import at once)."""


def measure_pairs(pairs: Iterable[Pair], what: Measured, workers: int = 0) -> Iterator[CaseOutcome]:
    """Measure pair after pair and tell of each when it is done, in no fixed order.

    Args:
        pairs: As from ``match_cases``.
        what: See ``measure_pair``.
        workers: Processes; 1 stays in this one; 0 begins in this one, and goes on in one a core if that saves more
            than their start costs.

    Raises:
        ConfigError: A negative number of workers.

    Cost:
        Bounded by reading for small volumes. At most two cases a worker are held at a time.
    """
    if workers < 0:
        raise ConfigError(f"expected 0 or more workers, got {workers}")
    rest = deque(pairs)
    if workers == 0:
        case_s = yield from _begin_here(rest, what)
        workers = processes_worth(case_s, len(rest), multiprocessing.cpu_count())
    if workers == 1:
        yield from (measure_pair(pair, what) for pair in rest)
    elif rest:
        # a fresh interpreter inherits neither threads nor locks of this one
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(rest)), mp_context=context) as pool:
            yield from _in_flight(pool, rest, what, 2 * workers)


def processes_worth(case_s: float, cases: int, cores: int) -> int:
    """How many processes to measure cases in: one a core, or this one alone where a start costs more than it saves.

    Args:
        case_s: Seconds a case takes.
        cases: How many are left.
        cores: How many can run at a time.

    Example:
        >>> processes_worth(0.004, cases=1000, cores=2), processes_worth(0.004, cases=10_000, cores=2)
        (1, 2)
        >>> processes_worth(5.0, cases=3, cores=16)
        3
    """
    count = max(1, min(cores, cases))
    return count if case_s * cases * (1 - 1 / count) > _START_S else 1


def _begin_here(rest: deque[Pair], what: Measured) -> Generator[CaseOutcome, None, float]:
    """Measure until it is known how long a case takes; those that are done leave the queue."""
    spent_s, done = 0.0, 0
    while rest and spent_s < _TRIAL_S:
        start = perf_counter()
        outcome = measure_pair(rest.popleft(), what)
        spent_s, done = spent_s + perf_counter() - start, done + 1
        yield outcome
    return spent_s / max(1, done)


def _in_flight(
    pool: ProcessPoolExecutor, pairs: Iterable[Pair], what: Measured, limit: int
) -> Iterator[CaseOutcome]:
    waiting: dict[Future[CaseOutcome], Pair] = {}
    queue = iter(pairs)
    try:
        while True:
            while len(waiting) < limit and (pair := next(queue, None)) is not None:
                waiting[pool.submit(measure_pair, pair, what)] = pair
            if not waiting:
                return
            for done in wait(waiting, return_when=FIRST_COMPLETED).done:
                outcome = done.result()
                del waiting[done]
                yield outcome
    except BrokenProcessPool:
        text = "a worker process ended abruptly (out of memory?); try --workers 1"
        yield from (CaseOutcome(pair, problem=text) for pair in [*waiting.values(), *queue])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
