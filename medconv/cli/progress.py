"""Which case is being worked on: one line on a terminal, nothing in a log file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """A line that is overwritten, if ``stream`` is a terminal.

    Args:
        total: How many items there are.
        stream: Standard error, so that results can be piped.
    """

    def __init__(self, total: int, stream: TextIO) -> None:
        self._total, self._stream = total, stream
        self._is_on = stream.isatty()

    def over(self, items: Iterable[T], name: Callable[[T], str]) -> Iterator[T]:
        """Hand the items on; say each one's name while it is worked on."""
        for number, item in enumerate(items, start=1):
            self._write(f"{_CLEAR_LINE}[{number}/{self._total}] {name(item)} …")
            yield item

    def clear(self) -> None:
        """Remove the line, so that something else can be printed."""
        self._write(_CLEAR_LINE)

    def _write(self, text: str) -> None:
        if self._is_on:
            self._stream.write(text)
            self._stream.flush()
