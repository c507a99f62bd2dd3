"""Threads that hand the interpreter on sooner than Python would have them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_SWITCH_S = 0.0005


@contextmanager
def quick_switches() -> Iterator[None]:
    """Have no thread keep the interpreter long within the block: with Python's 5 ms a GPU runs dry between cases.

    It holds for the whole process, so afterwards it is as before.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
