"""The end of a process without taking apart what it had loaded."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable


def with_quick_end(command: Callable[[], int]) -> int:
    """Run a command, and end the process as soon as all is written and every ``atexit`` function has run.

    Python would then destroy module by module what was loaded: with PyTorch half a second or more, which the operating
    system does at once. Threads that are no daemons are waited for, as always. A process ends in the usual way, and
    this returns, whose command raises, whose output cannot be written, or that is watched by a debugger or profiler.

    Args:
        command: Returns the exit code.
    """
    code = command()
    if sys.gettrace() is None and sys.getprofile() is None and not sys.flags.inspect:
        # what Python does first when it ends, in its order; multiprocessing ends its processes by the same names
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        if _is_all_written():
            os._exit(code)
    return code


def _is_all_written() -> bool:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return False  # Python tells of it in its own way
    return True
