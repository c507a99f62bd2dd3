"""Loading what a command needs without Python's search for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quick_start() -> Iterator[None]:
    """Search for no garbage within the block, and never again among what was made in it.

    Loading PyTorch makes some hundred thousand objects that all stay. Python looks through them again and again
    meanwhile, a tenth of the time that loading takes, and later at every full search, with the interpreter held.

    For a process of our own only: cycles that became garbage within the block are never found.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
