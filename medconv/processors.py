"""How many processors this process may use, which in a container or a batch job are fewer than the machine has."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Processors that this process may use, at least 1.

    Example:
        >>> usable_processors() >= 1
        True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
