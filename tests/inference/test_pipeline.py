from __future__ import annotations

import signal
import threading
import time

import pytest

from medconv.inference.pipeline import WritingRoom, overlapped


def test_results_come_in_order_and_each_stage_has_its_thread() -> None:
    threads: dict[str, set[str]] = {"read": set(), "compute": set(), "write": set()}

    def stage(name: str):
        def run(value: int) -> int:
            threads[name].add(threading.current_thread().name)
            return value + 1

        return run

    results = list(overlapped(range(20), stage("read"), stage("compute"), stage("write")))
    assert results == [n + 3 for n in range(20)]
    assert threads["compute"] == {threading.current_thread().name}
    assert [len(names) for names in threads.values()] == [1, 1, 1]
    assert not any(t.name.startswith("medconv") for t in threading.enumerate())


def test_the_three_stages_run_at_the_same_time() -> None:
    pause = 0.05

    def slow(value: int) -> int:
        time.sleep(pause)
        return value

    start = time.perf_counter()
    list(overlapped(range(8), slow, slow, slow))
    assert time.perf_counter() - start < 8 * 3 * pause * 0.75


def test_no_more_than_three_jobs_are_held() -> None:
    held, most = 0, 0
    lock = threading.Lock()

    def read(_: int) -> None:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)

    def write(_: None) -> None:
        nonlocal held
        time.sleep(0.005)
        with lock:
            held -= 1

    list(overlapped(range(12), read, lambda x: x, write))
    assert held == 0
    assert most <= 3


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_an_interruption_ends_it_without_beginning_anything_new(stage: str) -> None:
    begun: list[int] = []

    def run(name: str):
        def inner(value: int) -> int:
            if name == "read":
                begun.append(value)
            if name == stage and value == 2:
                raise KeyboardInterrupt
            return value

        return inner

    done: list[int] = []
    results = overlapped(range(100), run("read"), run("compute"), run("write"))
    with pytest.raises(KeyboardInterrupt):
        done.extend(results)
    assert done in ([], [0], [0, 1])
    assert len(begun) <= 5
    assert not any(t.name.startswith("medconv") for t in threading.enumerate())


def test_a_job_that_goes_alone_has_nothing_beside_it() -> None:
    at_work: set[tuple[str, int]] = set()
    beside: dict[int, set[tuple[str, int]]] = {}
    lock = threading.Lock()

    def stage(name: str, pause: float):
        def run(value: int) -> int:
            with lock:
                at_work.add((name, value))
                beside.setdefault(value, set()).update(at_work if name != "read" else set())
            time.sleep(pause)
            with lock:
                if name != "read":
                    beside[value] |= at_work
                at_work.discard((name, value))
            return value

        return run

    stages = (stage("read", 0.01), stage("compute", 0.03), stage("write", 0.02))
    results = list(overlapped(range(8), *stages, goes_alone=lambda value: value in (0, 3, 4, 7)))
    assert results == list(range(8))
    for value in (0, 3, 4, 7):
        assert beside[value] == {("compute", value), ("write", value)}


def test_small_jobs_are_written_together_within_the_room_and_a_large_one_alone() -> None:
    at_work: list[int] = []
    together: set[tuple[int, ...]] = set()
    lock = threading.Lock()

    def write(size: int) -> int:
        with lock:
            at_work.append(size)
            together.add(tuple(sorted(at_work)))
        time.sleep(0.02)
        with lock:
            at_work.remove(size)
        return size

    sizes = [10, 11, 12, 13, 14, 15, 500, 16, 90, 17, 18, 19, 20]
    results = list(overlapped(sizes, int, int, write, room=WritingRoom(3, 100), bytes_of=lambda size: size))
    assert results == sizes
    assert max(map(len, together)) == 3
    assert all(sum(sizes) <= 100 or sizes == (500,) for sizes in together)
    assert not any(t.name.startswith("medconv") for t in threading.enumerate())


def test_a_result_is_handed_out_as_soon_as_it_and_those_before_are_there() -> None:
    release = threading.Event()

    def write(value: int) -> int:
        if value == 1:
            assert release.wait(10)
        return value

    results = overlapped(range(9), int, int, write, room=WritingRoom(4, 9))
    assert next(results) == 0  # although there is room for more
    release.set()
    assert list(results) == list(range(1, 9))


def test_a_slow_job_holds_up_no_others() -> None:
    is_far = threading.Event()

    def write(value: int) -> int:
        if value == 0:
            assert is_far.wait(10)
        if value == 6:
            is_far.set()
        return value

    results = overlapped(range(9), int, int, write, room=WritingRoom(2, 9), bytes_of=lambda _: 1)
    assert list(results) == list(range(9))


def test_a_job_that_goes_alone_waits_for_all_that_are_written() -> None:
    writing, beside = set(), []

    def compute(value: int) -> int:
        if value == 3:
            beside.append(set(writing))
        return value

    def write(value: int) -> int:
        writing.add(value)
        time.sleep(0.02)
        writing.discard(value)
        return value

    alone = overlapped(
        range(5), int, compute, write, goes_alone=lambda value: value == 3, room=WritingRoom(4, 9)
    )
    assert list(alone) == list(range(5))
    assert beside == [set()]


@pytest.mark.parametrize("writers", [1, 4])
def test_what_writing_raises_is_raised_in_its_turn(writers: int) -> None:
    def write(value: int) -> int:
        if value == 2:
            raise OSError("full")
        return value

    done: list[int] = []
    with pytest.raises(OSError, match="full"):
        done.extend(overlapped(range(50), int, int, write, room=WritingRoom(writers, 9)))
    assert done == [0, 1]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_what_is_being_written_at_an_interruption_is_told(interruption: type[BaseException]) -> None:
    is_interrupted = threading.Event()

    def compute(value: int) -> int:
        if value == 3:
            is_interrupted.set()
            raise interruption
        return value

    def write(value: int) -> int:
        assert is_interrupted.wait(10)
        return value

    done: list[int] = []
    with pytest.raises(interruption):
        done.extend(overlapped(range(50), int, compute, write, room=WritingRoom(4, 9)))
    assert done == [0, 1, 2]


def test_an_interrupted_wait_for_what_is_written_loses_nothing() -> None:
    release = threading.Event()

    def write(value: int) -> int:
        assert release.wait(10)
        return value

    def interrupt() -> None:
        time.sleep(0.1)  # by then the thread of the caller waits for room
        signal.pthread_kill(caller, signal.SIGINT)
        time.sleep(0.05)
        release.set()

    caller = threading.get_ident()
    done: list[int] = []
    thread = threading.Thread(target=interrupt)
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell's background jobs are deaf to it
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            done.extend(overlapped(range(50), int, int, write, room=WritingRoom(2, 9)))
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == [0, 1]
