"""What is free, which ways of computing stay within it, and the ladder down for when that was too little."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch

from medconv.errors import MedconvError
from medconv.host_memory import free_device_bytes, free_host_bytes
from medconv.inference.byte_plan import GIB, BytePlan

T = TypeVar("T")

_LACK_OF_MEMORY = (  # that PyTorch raises as a plain RuntimeError: of MPS, CUDA and its libraries, and processors
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "defaultcpuallocator: can't allocate memory",
    "defaultcpuallocator: not enough memory",
)


def within_limits(
    plans: Iterable[BytePlan], limit_gb: float | None = None, name: str = "the case"
) -> Iterator[BytePlan]:
    """Those plans that stay within the limits, which are what is free where none is given.

    Args:
        plans: One a way, as the ladder goes.
        limit_gb: GiB of main memory, and of the accelerator's, at the most.
        name: How the error calls the case.

    Raises:
        MedconvError: None stays within; with what the one takes that misses least, and which memory it misses.
    """
    over: list[tuple[float, str, BytePlan]] = []
    fitting = 0
    for plan in plans:
        missing, room = _shortage(plan, limit_gb)
        if missing <= 0:
            fitting += 1
            yield plan
        else:
            over.append((missing, room, plan))
    if not fitting:
        _, room, least = min(over, key=lambda short: short[0])
        raise MedconvError(
            f"{name}: expected to need at most {room}, but it takes {least}; "
            "crop or split the volume, close other programs, or raise --memory-gb on a larger machine"
        )


def first_that_fits(attempts: Iterable[tuple[str, Callable[[], T]]]) -> tuple[T, str]:
    """Try ways of computing the same thing until one fits into memory.

    Only the lack of memory leads to the next attempt; every other error is a fault and is raised at once.

    Args:
        attempts: What each attempt does, in words, and the attempt; the most generous first.

    Returns:
        The result, and the words of the attempt that gave it.

    Raises:
        MedconvError: None fits.

    Example:
        >>> first_that_fits([("4 tiles at once", lambda: 1.0), ("1 tile at once", lambda: 1.0)])
        (1.0, '4 tiles at once')
    """
    reason = words = ""
    for words, attempt in attempts:
        try:
            return attempt(), words
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not _is_lack_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).split("\n", maxsplit=1)[0]
        # here the error is gone, and with it the frames that held the tensors
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise MedconvError(
        f"memory is not enough even with {words}: {reason} "
        "Use a machine that nothing else uses, or crop the volume"
    )


def _is_lack_of_memory(error: BaseException) -> bool:
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(words in str(error).lower() for words in _LACK_OF_MEMORY)


def _shortage(plan: BytePlan, limit_gb: float | None) -> tuple[float, str]:
    """Bytes that are missing of the memory that is tighter, 0 or less where none are; and what there is of it."""
    if limit_gb is not None:
        return max(plan.host_bytes, plan.device_bytes) - limit_gb * GIB, f"{limit_gb:g} GiB of memory"
    held_host, held_device = plan.held_bytes
    device = plan.way.device
    memories = (
        (plan.host_bytes - held_host, free_host_bytes(), "main memory"),
        (plan.device_bytes - held_device, free_device_bytes(device), str(device)),
    )
    return max(
        (
            (needed - free, f"{free / GIB:.1f} more GiB of {where}")
            for needed, free, where in memories
            if free is not None
        ),
        default=(0, "what is free"),
    )
