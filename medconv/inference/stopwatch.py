"""Seconds per stage, honest on devices that compute ahead of the program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up seconds under names; a stage within another is taken off the outer one.

    Args:
        device: Waited for at the end of each stage, so that a stage pays for its own work.

    Example:
        >>> watch = Stopwatch()
        >>> with watch.stage("read"):
        ...     pass
        >>> list(watch.seconds)
        ['read']
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._inner: list[float] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to ``name``."""
        start = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            if self._device is not None and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            whole, inner = time.perf_counter() - start, self._inner.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - inner
            if self._inner:
                self._inner[-1] += whole
