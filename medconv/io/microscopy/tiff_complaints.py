"""What tifffile only logs: that a file ends too early, or contradicts itself. Here it is an error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tifffile import TiffFileError

_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)
_HARMLESS = "TiffTag.fromfile"
"""A tag that cannot be read: those that matter are missed later."""


class _Listener(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        heard = _heard.get()
        if heard is not None and record.levelno >= logging.ERROR and _HARMLESS not in record.getMessage():
            heard.append(record.getMessage())


# also keeps the messages from standard error, where nobody asked for them
logging.getLogger("tifffile").addHandler(_Listener())


@contextmanager
def strictly() -> Iterator[None]:
    """Raise what tifffile logs as an error in this block, in this thread.

    Raises:
        TiffFileError: With the first message.
    """
    token = _heard.set([])
    try:
        yield
        if heard := _heard.get():
            raise TiffFileError(heard[0])
    finally:
        _heard.reset(token)
