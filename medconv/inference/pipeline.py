"""Three things at once: the next case is read and the last one written while one is computed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Result = TypeVar("Result")


def overlapped(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    compute: Callable[[Read], Computed],
    write: Callable[[Computed], Result],
    goes_alone: Callable[[Read], bool] = lambda _: False,
) -> Generator[Result, None, None]:
    """The results of ``write(compute(read(job)))``, in the order of the jobs.

    One thread reads one job ahead, one writes the job before; computing stays in the thread of the caller. At
    most three jobs are in memory. What one of the three raises is raised here, and then, as after an interruption,
    nothing new is begun and what is being written is finished.

    Args:
        jobs: Taken one ahead.
        read: Of one job.
        compute: Of what was read.
        write: Of what was computed.
        goes_alone: Whether what was read is computed and written with no other job in memory: it waits until the one
            before is written, and the next is read only after it.

    Example:
        >>> list(overlapped([1, 2, 3], str, lambda text: text * 2, int))
        [11, 22, 33]
    """
    waiting = iter(jobs)
    with _Thread("medconv-read") as reader, _Thread("medconv-write") as writer:

        def begin() -> Future[Read] | None:
            return next((reader.submit(read, job) for job in waiting), None)

        ahead, behind = begin(), None
        while ahead is not None:
            value = ahead.result()
            is_alone = goes_alone(value)
            if not is_alone:
                ahead = begin()
            elif behind is not None:
                yield behind.result()
                behind = None
            computed = compute(value)
            del value
            if behind is not None:
                yield behind.result()
            behind = writer.submit(write, computed)
            del computed
            if is_alone:
                yield behind.result()
                behind = None
                ahead = begin()
        if behind is not None:
            yield behind.result()


class _Thread(ThreadPoolExecutor):
    """One thread that forgets what it has not begun when the block ends."""

    def __init__(self, name: str) -> None:
        super().__init__(max_workers=1, thread_name_prefix=name)

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
