"""SIGTERM, by which schedulers end jobs, taken as an interruption."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

_TERMINATED = 143


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Have SIGTERM leave the block by ``SystemExit``, so that it leaves no half file either; exit code 143."""

    def leave(*_: object) -> None:
        raise SystemExit(_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
