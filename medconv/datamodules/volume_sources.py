"""Where a store takes its voxels from: all volumes on the device, or the parts that patches reach, from main memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from medconv.transforms.patch_sampling import PackedVolumes, reached_box

_THREADS = 4
"""That copy voxels while the device trains: one alone may be slower than a GPU."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Patches to be drawn, as ``sample_patches`` takes them, on the host.

    Args:
        cases: ``(B,)`` int64.
        starts: ``(B, d)`` int64.
        rows: ``(n,)``, which of them are turned.
        matrices: ``(n, d, d)``.
        patch_size: ``*P``.
    """

    cases: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    rows: npt.NDArray[Any]
    matrices: npt.NDArray[Any]
    patch_size: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Gathered:
    """Voxels on their way to the device.

    Args:
        windows: Places in ``volumes()``.
        volumes: Waits until they can be copied, and gives them on the device.
    """

    windows: Windows
    volumes: Callable[[], PackedVolumes]


class VolumeSource(Protocol):
    """Voxels for windows."""

    def gather(self, windows: Windows) -> Gathered:
        """Begin to bring what the windows read to the device; waits for nothing."""
        ...


class OnDevice:
    """All volumes lie on the device: nothing is brought.

    Args:
        volumes: On the device.
    """

    def __init__(self, volumes: PackedVolumes) -> None:
        self.volumes = volumes

    def gather(self, windows: Windows) -> Gathered:
        """See ``VolumeSource``."""
        return Gathered(windows, lambda: self.volumes)


class InMainMemory:
    """All volumes lie in main memory; of each, the box that a window reads is copied to the device.

    Threads copy the boxes to pinned memory, from where a GPU fetches them beside its other work. Pinning the
    volumes themselves would gain nothing: a box is no piece of memory that one copy could take. Without a GPU the
    boxes stay where the threads put them.

    Args:
        volumes: On the host.
        device: Where the boxes are needed.
    """

    def __init__(self, volumes: PackedVolumes, device: torch.device) -> None:
        self.volumes, self.device = volumes, device
        self._shapes = volumes.shape.numpy()
        self._label_type = volumes.label.numpy().dtype
        self._pool = ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1))

    def gather(self, windows: Windows) -> Gathered:
        """See ``VolumeSource``."""
        turned = dict(zip(windows.rows.tolist(), windows.matrices, strict=True))
        boxes = [
            reached_box(start, windows.patch_size, self._shapes[case], turned.get(row))
            for row, (case, start) in enumerate(zip(windows.cases, windows.starts, strict=True))
        ]
        staged = PackedVolumes.empty(
            len(self.volumes.image),
            [(high - low).tolist() for low, high in boxes],
            self._label_type,
            "cpu",
            self.volumes.image.dtype,
            pinned=self.device.type == "cuda",
        )
        copies = [
            self._pool.submit(self._copy, staged, row, int(case), low, high)
            for row, (case, (low, high)) in enumerate(zip(windows.cases, boxes, strict=True))
        ]

        def volumes() -> PackedVolumes:
            for copy in copies:
                copy.result()
            return staged.to(self.device)

        lows = np.stack([low for low, _ in boxes])
        moved = replace(windows, cases=np.arange(len(boxes)), starts=windows.starts - lows)
        return Gathered(moved, volumes)

    def _copy(
        self,
        staged: PackedVolumes,
        row: int,
        case: int,
        low: npt.NDArray[np.int64],
        high: npt.NDArray[np.int64],
    ) -> None:
        box = (slice(None), *map(slice, low, high))
        for target, source in zip(staged.view(row), self.volumes.view(case), strict=True):
            target[...] = source[box]
