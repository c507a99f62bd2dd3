"""The byte plan: what a case will take, reckoned before anything runs, and the ladder for when that was too little."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod
from typing import TypeVar

import torch

from medconv.errors import MedconvError
from medconv.inference.host_memory import free_device_bytes, free_host_bytes
from medconv.transforms import rows_at_once

T = TypeVar("T")

GIB = 2**30
CPU = torch.device("cpu")

_FLOAT = 4
_SLACK = 1.1
"""Allocators give memory back in lumps: measured peaks lie up to a tenth above the sum of what is alive."""

_RUNTIME_BYTES = 2**28
"""What libraries take at their first use: threads, tables, workspaces."""

SLAB_ELEMENTS = {"cpu": 2**22, "cuda": 2**25}


@dataclass(frozen=True)
class Way:
    """One way of computing a case.

    Args:
        device: Where the network runs.
        gather: Where the scores of all classes are gathered and decided.
        tile_batch: Tiles that pass the network together.
    """

    device: torch.device
    gather: torch.device
    tile_batch: int

    @property
    def words(self) -> str:
        """The way in words."""
        tiles = f"{self.tile_batch} tiles at a time" if self.tile_batch > 1 else "one tile at a time"
        where = "on the CPU" if self.device.type == "cpu" else f"on {self.device}"
        apart = ", scores gathered on the CPU" if self.gather.type != self.device.type else ""
        return f"{tiles} {where}{apart}"

    @property
    def slab_elements(self) -> int:
        """Values that are resampled at once."""
        return SLAB_ELEMENTS.get(self.gather.type, SLAB_ELEMENTS["cpu"])


def ways_down(device: torch.device, tile_batch: int) -> list[Way]:
    """The ladder: from the quickest way to the one that takes least of the device's memory.

    Example:
        >>> [way.words for way in ways_down(torch.device("cpu"), 2)]
        ['2 tiles at a time on the CPU', 'one tile at a time on the CPU']
    """
    batches = [tile_batch]
    while batches[-1] > 1:
        batches.append(batches[-1] // 2)
    if device.type == "cpu":
        return [Way(CPU, CPU, batch) for batch in batches]
    return [
        Way(device, device, tile_batch),
        *(Way(device, CPU, batch) for batch in batches),
        Way(CPU, CPU, 1),
    ]


@dataclass(frozen=True)
class CaseSize:
    """The sizes that decide about the memory of a case.

    Args:
        channels: ``C``.
        shape: ``*S`` as stored, three axes.
        work_shape: ``*S'`` that the network sees, three axes.
        turned_shape: ``*S`` in the order of the network's axes.
        num_classes: ``K``.
        patches: Patch size of each network of the ensemble.
        tile_bytes: What each network takes for one tile beside its weights.
    """

    channels: int
    shape: tuple[int, ...]
    work_shape: tuple[int, ...]
    turned_shape: tuple[int, ...]
    num_classes: int
    patches: tuple[tuple[int, ...], ...]
    tile_bytes: tuple[int, ...]


@dataclass(frozen=True)
class BytePlan:
    """How a case will be computed and what that takes at the most.

    Args:
        way: How.
        host_bytes: Main memory of the process, with what it held before.
        device_bytes: Memory of the accelerator, with the weights; 0 on a processor.
        held_bytes: Main memory, and memory of the accelerator, that is taken already.
    """

    way: Way
    host_bytes: int
    device_bytes: int = 0
    held_bytes: tuple[int, int] = (0, 0)

    def __str__(self) -> str:
        text = f"at most {self.host_bytes / GIB:.1f} GiB of main memory"
        if self.device_bytes:
            text += f" and {self.device_bytes / GIB:.1f} GiB of {self.way.device}"
        return f"{text}, {self.way.words}"


def plan_bytes(
    case: CaseSize,
    way: Way,
    *,
    held_bytes: int = 0,
    weight_bytes: int = 0,
    kept_bytes: int = 0,
    overlapped: bool = False,
) -> BytePlan:
    """The most that a case takes in one way of computing it.

    Args:
        case: Its sizes.
        way: How it is computed.
        held_bytes: Main memory that the process holds already.
        weight_bytes: Memory of the accelerator that the weights take.
        kept_bytes: Main memory of what is kept beside the labels, such as probabilities.
        overlapped: Whether the case before is still being written and the next one read meanwhile.

    Cost:
        Arithmetic only.
    """
    voxels, work = case.channels * prod(case.shape) * _FLOAT, case.channels * prod(case.work_shape) * _FLOAT
    out = prod(case.shape) * (1 if case.num_classes <= 256 else 2)
    axes = len(case.patches[0])
    prepare = _prepare_bytes(case, voxels, work, way)
    compute = work + _gathered_bytes(case, axes, way) + _slab_bytes(case, way)
    # a reader holds two copies; a writer holds the volume, the labels and their copy in the file's order
    host = voxels + max(voxels, 2 * out) + kept_bytes * (2 if overlapped else 1)
    host += (2 * voxels + voxels + 2 * out) if overlapped else 0
    tiles = max(case.tile_bytes) * way.tile_batch + 2 * _padded_tile(case)
    if way.device.type == "cpu":
        host += max(prepare, compute + tiles)
        device = 0
    elif way.gather.type == "cpu":
        host += max(prepare, compute)
        device = weight_bytes + tiles
    else:
        device = weight_bytes + max(prepare, compute + tiles)
    host = int(held_bytes + _RUNTIME_BYTES + _SLACK * host)
    return BytePlan(way, host, int(_SLACK * device), (held_bytes, weight_bytes))


def within_limits(
    plans: Iterable[BytePlan], limit_gb: float | None = None, name: str = "the case"
) -> Iterator[BytePlan]:
    """Those plans that stay within the limits, which are what is free where none is given.

    Args:
        plans: One a way, as the ladder goes.
        limit_gb: GiB of main memory, and of the accelerator's, at the most.
        name: How the error calls the case.

    Raises:
        MedconvError: None stays within; with what the smallest takes.
    """
    over: list[BytePlan] = []
    fitting = 0
    for plan in plans:
        if _fits(plan, limit_gb):
            fitting += 1
            yield plan
        else:
            over.append(plan)
    if not fitting:
        least = min(over, key=lambda plan: plan.host_bytes)
        raise MedconvError(
            f"{name}: expected to need at most {_allowed(limit_gb)} GiB of memory, but it takes {least}; "
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
    # on a processor PyTorch raises a plain RuntimeError
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _prepare_bytes(case: CaseSize, voxels: int, work: int, way: Way) -> int:
    """The volume turned and scaled, and what resampling holds of it axis by axis."""
    sizes, held = list(case.turned_shape), [voxels]
    for axis, size in enumerate(case.work_shape):
        sizes[axis] = size
        held.append(case.channels * prod(sizes) * _FLOAT)
    resampling = max(a + b for a, b in pairwise(held))
    if case.turned_shape == case.work_shape:
        resampling = voxels
    # the accelerator scales a channel at once in float64, a processor in small parts
    exact = 0 if way.device.type == "cpu" else 3 * 8 * prod(case.shape)
    return max(2 * voxels + exact, resampling, work)


def _gathered_bytes(case: CaseSize, axes: int, way: Way) -> int:
    """The rows of scores that each network of the ensemble keeps, and a padded copy of a small volume."""
    total, most = 0, 0
    for patch in case.patches:
        padded = [max(n, p) for n, p in zip(case.work_shape[:axes], patch, strict=True)]
        rows = min(padded[0], patch[0] + _rows_at_once(case, way.slab_elements))
        total += case.num_classes * rows * prod(padded[1:]) * _FLOAT
        copy = 0 if tuple(padded) == case.work_shape[:axes] else case.channels * prod(padded) * _FLOAT
        most = max(most, copy)
    return total + most


def _slab_bytes(case: CaseSize, way: Way) -> int:
    """The slab that is resampled, while it is: the old rows, those of each axis, and the winners."""
    rows = _rows_at_once(case, way.slab_elements)
    old = case.num_classes * rows * prod(case.work_shape[1:])
    step = case.work_shape[0] / case.turned_shape[0]
    new = case.num_classes * ceil(rows / step) * max(prod(case.turned_shape[1:]), prod(case.work_shape[1:]))
    members = 2 if len(case.patches) > 1 else 1
    return (old * (1 + members) + 3 * new) * _FLOAT


def _padded_tile(case: CaseSize) -> int:
    """One tile's scores, weighed, in float32."""
    return case.num_classes * max(prod(patch) for patch in case.patches) * _FLOAT


def _rows_at_once(case: CaseSize, slab_elements: int) -> int:
    return rows_at_once((case.num_classes, *case.work_shape), case.turned_shape, slab_elements)


def _fits(plan: BytePlan, limit_gb: float | None) -> bool:
    if limit_gb is not None:
        return max(plan.host_bytes, plan.device_bytes) <= limit_gb * GIB
    host, device = free_host_bytes(), free_device_bytes(plan.way.device)
    held_host, held_device = plan.held_bytes
    fits_host = host is None or plan.host_bytes - held_host <= host
    return fits_host and (device is None or plan.device_bytes - held_device <= device)


def _allowed(limit_gb: float | None) -> str:
    return f"{limit_gb:g}" if limit_gb is not None else f"{(free_host_bytes() or 0) / GIB:.1f} more"
