"""Warnings, kept with the case that they are about, whichever thread it is in."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

_listener: ContextVar[list[str] | None] = ContextVar("_listener", default=None)
_lock = Lock()
_open = 0
_before: Any = None


@contextmanager
def noted(remarks: list[str]) -> Iterator[None]:
    """Append to ``remarks`` what is warned of in this block, in this thread.

    Python's filters belong to the whole process: they are changed while any thread is in such a block, and
    warnings of threads that are in none are shown as they always are.

    Example:
        >>> remarks = []
        >>> with noted(remarks):
        ...     warnings.warn("far from training's spacing")
        >>> remarks
        ["far from training's spacing"]
    """
    token = _listener.set(remarks)
    _begin()
    try:
        yield
    finally:
        _end()
        _listener.reset(token)


def _begin() -> None:
    global _open, _before
    with _lock:
        if _open == 0:
            _before = warnings.catch_warnings()
            _before.__enter__()
            warnings.simplefilter("always", UserWarning)
            show = warnings.showwarning

            def listen(message: Any, category: type[Warning], *place: Any, **options: Any) -> None:
                remarks = _listener.get()
                if remarks is None:
                    show(message, category, *place, **options)
                elif category is UserWarning:  # others, such as deprecations, are no news about a case
                    remarks.append(str(message))

            warnings.showwarning = listen
        _open += 1


def _end() -> None:
    global _open
    with _lock:
        _open -= 1
        if _open == 0:
            _before.__exit__(None, None, None)
