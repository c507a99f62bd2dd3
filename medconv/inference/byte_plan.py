"""The byte plan: what a case will take, reckoned from its sizes before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod

from medconv.inference.pipeline import WRITING_ROOM, WritingRoom
from medconv.inference.separation import separation_bytes
from medconv.inference.spacious import LARGEST_IN_MEMORY_BYTES
from medconv.inference.ways import Way
from medconv.transforms import rows_at_once

GIB = 2**30

_FLOAT = 4
_SLACK = 1.1
"""Allocators give memory back in lumps: measured peaks lie up to a tenth above the sum of what is alive."""

_CLEANING = 16
"""Bytes a voxel while components are numbered: the numbers, and the same as an index."""

_RUNTIME_BYTES = 2**28
"""What libraries take at their first use: threads, tables, workspaces."""


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
        has_objects: Whether single objects are told apart.
    """

    channels: int
    shape: tuple[int, ...]
    work_shape: tuple[int, ...]
    turned_shape: tuple[int, ...]
    num_classes: int
    patches: tuple[tuple[int, ...], ...]
    tile_bytes: tuple[int, ...]
    has_objects: bool = False


@dataclass(frozen=True)
class BytePlan:
    """How a case will be computed and what that takes at the most.

    Args:
        way: How.
        host_bytes: Main memory of the process, with what it held before.
        device_bytes: Memory of the accelerator, with the weights; 0 on a processor.
        held_bytes: Main memory, and memory of the accelerator, that is taken already.
        writing_bytes: What of ``host_bytes`` is still taken while the computed case is written.
    """

    way: Way
    host_bytes: int
    device_bytes: int = 0
    held_bytes: tuple[int, int] = (0, 0)
    writing_bytes: int = 0

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
    recorded_bytes: int = 0,
    has_recorded: bool = False,
    kept_bytes: int = 0,
    is_cleaned: bool = False,
    overlapped: bool = False,
    room: WritingRoom = WRITING_ROOM,
) -> BytePlan:
    """The most that a case takes in one way of computing it.

    Args:
        case: Its sizes.
        way: How it is computed.
        held_bytes: Main memory that the process holds already.
        weight_bytes: Memory of the accelerator that the weights take; 0 where there is none.
        recorded_bytes: Memory of the accelerator that recordings of passes keep.
        has_recorded: Whether they are made, and so hold it already.
        kept_bytes: Main memory of what is kept beside the labels, such as probabilities.
        is_cleaned: Whether labels are cleaned afterwards, for which components are numbered.
        overlapped: Whether cases before are still being written and the next one read meanwhile.
        room: For those that are being written.

    Cost:
        Arithmetic only.
    """
    voxels, work = case.channels * prod(case.shape) * _FLOAT, case.channels * prod(case.work_shape) * _FLOAT
    out = prod(case.shape) * (4 if case.has_objects else 1 if case.num_classes <= 256 else 2)
    axes = len(case.patches[0])
    prepare = _prepare_bytes(case, voxels, work, way)
    compute = work + _gathered_bytes(case, axes, way) + _slab_bytes(case, way)
    cleaning = _CLEANING * prod(case.shape) if is_cleaned else 0
    if case.has_objects:
        cleaning = separation_bytes(case.shape)
        kept_bytes += fields_bytes(case.shape)
    tiles = max(case.tile_bytes) * way.tile_batch + 2 * _padded_tile(case)
    if way.device.type == "cpu":
        # networks of an accelerator are copied to the processor while it computes a case
        computing, device = max(prepare, weight_bytes + compute + tiles), 0
    elif way.gather.type == "cpu":
        computing, device = max(prepare, compute), weight_bytes + tiles
    else:
        computing, device = 0, weight_bytes + recorded_bytes + max(prepare, compute + tiles)
    # a reader holds two copies; labels exist in the network's order of axes, the file's, and as they are written
    computed = voxels + kept_bytes
    # labels are cleaned, and objects told apart, by who writes them
    reading, answering = 2 * voxels, computed + 2 * out + computing
    writing = computed + max(3 * out, 2 * out + cleaning)
    # an actor may write two at once while none is computed
    host = max(reading, answering, writing)
    if overlapped:
        host = reading + max(answering, writing) + room.most_bytes(writing)
    host = int(held_bytes + _RUNTIME_BYTES + _SLACK * host)
    held_device = weight_bytes + (recorded_bytes if has_recorded else 0)
    return BytePlan(way, host, int(_SLACK * device), (held_bytes, held_device), writing)


def fields_bytes(shape: Sequence[int]) -> int:
    """Main memory of the two fields of single objects; on disk, where they would fill it."""
    return min(2 * 2 * prod(shape), LARGEST_IN_MEMORY_BYTES)


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
    exact = 0 if way.gather.type == "cpu" else 3 * 8 * prod(case.shape)
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
