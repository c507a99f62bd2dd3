"""Packages that others would load, to no use here, and that take long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(package: str) -> Iterator[None]:
    """Imports of a package fail within the block, as if it were not installed, unless it is loaded already.

    For a process of our own only: what was imported in the block goes on without the package.

    Example:
        >>> with without("antigravity"):
        ...     import antigravity
        Traceback (most recent call last):
        ModuleNotFoundError: import of antigravity halted; None in sys.modules
    """
    is_loaded = package in sys.modules
    if not is_loaded:
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not is_loaded:
            sys.modules.pop(package, None)
