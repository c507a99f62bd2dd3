"""Seconds per stage, honest on devices that compute ahead of the program."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up seconds under names.

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

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self._device is not None and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
