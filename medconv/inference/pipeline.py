"""Three things at once: the next case is read and those before are written while one is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from medconv.processors import usable_processors

Job = TypeVar("Job")
Read = TypeVar("Read")
Computed = TypeVar("Computed")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WritingRoom:
    """How many jobs are written at once: small ones several, a large one alone.

    Args:
        writers: The most.
        limit_bytes: What those that are written at once take together, unless it is one alone.
    """

    writers: int = 1
    limit_bytes: int = 0

    def most_bytes(self, one_bytes: int) -> int:
        """What jobs of this size, or smaller ones and one of this size, take at the most.

        Example:
            >>> [WritingRoom(4, 100).most_bytes(size) for size in (10, 40, 300)]
            [40, 100, 300]
        """
        return max(one_bytes, min(self.writers * one_bytes, self.limit_bytes))


WRITING_ROOM = WritingRoom(min(4, max(1, usable_processors() // 4)), 2**28)
"""A thread that writes keeps a processor busy: it tells objects apart, cleans labels and compresses."""


class Enough(Exception):  # noqa: N818  no error
    """Thrown into ``overlapped`` by who wants nothing new begun."""


def overlapped(
    jobs: Iterable[Job],
    read: Callable[[Job], Read],
    compute: Callable[[Read], Computed],
    write: Callable[[Computed], Result],
    goes_alone: Callable[[Read], bool] = lambda _: False,
    room: WritingRoom | None = None,
    bytes_of: Callable[[Computed], int] = lambda _: 0,
) -> Generator[Result, None, None]:
    """The results of ``write(compute(read(job)))``, in the order of the jobs.

    One thread reads one job ahead, others write the jobs before; computing stays in the thread of the caller. In
    memory are at most those that there is room to write, one that is computed or waits for room, and one that is read.
    What one of the three raises is raised here, and then nothing new is begun and what is being written is finished.
    After an interruption (Ctrl-C, ``SystemExit``), and after ``Enough``, its results are handed out too.

    Args:
        jobs: Taken one ahead.
        read: Of one job.
        compute: Of what was read.
        write: Of what was computed; called from several threads where there is room for several.
        goes_alone: Whether what was read is computed and written with no other job in memory: it waits until those
            before are written, and the next is read only after it.
        room: For writing; ``None``: for one.
        bytes_of: What writing a job takes.

    Example:
        >>> list(overlapped([1, 2, 3], str, lambda text: text * 2, int))
        [11, 22, 33]
    """
    waiting, room = iter(jobs), room or WritingRoom()
    with _Threads("medconv-read", 1) as reader, _Threads("medconv-write", room.writers) as writers:
        behind: _Behind[Result] = _Behind(room)

        def begin() -> Future[Read] | None:
            return next((reader.submit(read, job) for job in waiting), None)

        try:
            ahead = begin()
            while ahead is not None:
                value = ahead.result()
                is_alone = goes_alone(value)
                if is_alone:
                    yield from behind.all()
                else:
                    ahead = begin()
                computed = compute(value)
                del value
                taken = bytes_of(computed)
                yield from behind.until_room_for(taken)
                behind.add(writers.submit(write, computed), taken)
                del computed
                if is_alone:
                    yield from behind.all()
                    ahead = begin()
            yield from behind.all()
        except (Enough, KeyboardInterrupt, SystemExit) as end:
            yield from behind.all()
            if not isinstance(end, Enough):
                raise


@dataclass
class _Behind(Generic[Result]):
    """The jobs that are being written, or written and not told, the oldest first."""

    room: WritingRoom
    _jobs: deque[tuple[Future[Result], int]] = field(default_factory=deque)

    def add(self, job: Future[Result], taken: int) -> None:
        self._jobs.append((job, taken))

    def until_room_for(self, taken: int) -> Generator[Result, None, None]:
        """Results that have their turn, until another one of this size may be begun; a slow one holds up no others."""
        yield from self._done()
        while not self._has_room_for(taken, at_work := self._at_work()):
            wait(at_work, return_when=FIRST_COMPLETED)
            yield from self._done()

    def all(self) -> Generator[Result, None, None]:
        while self._jobs:
            yield self._oldest()

    def _done(self) -> Generator[Result, None, None]:
        while self._jobs and self._jobs[0][0].done():
            yield self._oldest()

    def _oldest(self) -> Result:
        result = self._jobs[0][0].result()  # an interrupted wait leaves it where it is
        self._jobs.popleft()
        return result

    def _at_work(self) -> dict[Future[Result], int]:
        return {job: size for job, size in self._jobs if not job.done()}

    def _has_room_for(self, taken: int, at_work: Mapping[Future[Result], int]) -> bool:
        together = taken + sum(at_work.values())
        is_within = len(at_work) < self.room.writers and together <= self.room.limit_bytes
        return is_within or not at_work


class _Threads(ThreadPoolExecutor):
    """Threads that forget what they have not begun when the block ends."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(max_workers=count, thread_name_prefix=name)

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
