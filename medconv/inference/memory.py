"""When a device's memory is not enough: the next smaller way of doing the same, and a word about it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch

from medconv.errors import MedconvError

T = TypeVar("T")


def first_that_fits(attempts: Mapping[str, Callable[[], T]]) -> tuple[T, str]:
    """Try ways of computing the same thing until one fits into the device's memory.

    Only the lack of memory leads to the next attempt; every other error is a fault and is raised at once.

    Args:
        attempts: What each attempt does, in words, and the attempt; the most generous first.

    Returns:
        The result, and the words of the attempt that gave it.

    Raises:
        MedconvError: None fits.

    Example:
        >>> first_that_fits({"4 tiles at once": lambda: 1.0, "1 tile at once": lambda: 1.0})
        (1.0, '4 tiles at once')
    """
    reason = ""
    for words, attempt in attempts.items():
        try:
            return attempt(), words
        except torch.OutOfMemoryError as error:
            reason = str(error).split("\n", maxsplit=1)[0]
        # here the error is gone, and with it the frames that held the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise MedconvError(
        f"the device's memory is not enough even with {list(attempts)[-1]}: {reason} "
        "Use --device cpu, or a GPU that nothing else uses"
    )
