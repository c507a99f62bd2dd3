"""The end of a process without taking apart what it had loaded."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable


def with_quick_end(command: Callable[[], int]) -> int:
    """Run a command, and have its process end as soon as all is written and every ``atexit`` function has run.

    Python would then destroy module by module what was loaded: with PyTorch half a second or more, which the operating
    system does at once. Threads that are no daemons are waited for, as always. A process ends in the usual way whose
    command raises, or in which somebody used ``atexit`` before (such as a tool that measures coverage): its functions
    run in reverse order, and those would be lost.

    Args:
        command: Returns the exit code.
    """
    if atexit._ncallbacks():  # type: ignore[attr-defined]  # not documented, but of every CPython since 3.7
        return command()
    codes: list[int] = []
    atexit.register(_end, codes)
    codes.append(command())
    return codes[0]


def _end(codes: list[int]) -> None:
    if not codes:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return  # Python tells of it in its own way
    os._exit(codes[0])
