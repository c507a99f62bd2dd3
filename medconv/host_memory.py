"""How much memory this process has, and how much more it could get."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path

import torch

_CGROUPS = (  # the limit of a container or a batch job, and what it uses, for both versions of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)

_FRESH_S = 0.1


def resident_bytes() -> int:
    """Main memory that this process holds now; 0 where the system does not say.

    Example:
        >>> resident_bytes() >= 0
        True
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_host_bytes() -> int | None:
    """Main memory that is free for this process, within the limits of its container; ``None``: not known.

    Looked up ten times a second at most: small cases follow each other faster than memory changes.
    """
    return _free_in(int(time.monotonic() / _FRESH_S))


@lru_cache(maxsize=1)
def _free_in(tenth_of_a_second: int) -> int | None:
    del tenth_of_a_second
    limits = [
        n for n in (_meminfo_available(), *(_cgroup_free(*paths) for paths in _CGROUPS)) if n is not None
    ]
    return min(limits) if limits else None


def free_device_bytes(device: torch.device) -> int | None:
    """Memory of an accelerator that is free, or kept by PyTorch for reuse; ``None``: not known."""
    if device.type != "cuda":
        return None
    index = torch.cuda.current_device() if device.index is None else device.index
    return _not_of_others(index, int(time.monotonic() / _FRESH_S)) - torch.cuda.memory_allocated(device)


@lru_cache(maxsize=1)
def _not_of_others(index: int, tenth_of_a_second: int) -> int:
    """Memory of a GPU that no other process holds, and PyTorch itself holds for itself or for tensors."""
    del tenth_of_a_second
    free, _ = torch.cuda.mem_get_info(index)  # takes a millisecond
    return free + torch.cuda.memory_reserved(index)


def _meminfo_available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def _cgroup_free(limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        most, used = int(Path(limit).read_text()), int(Path(usage).read_text())
        rows = (Path(usage).parent / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):
        return None  # no such version, or "max": no limit
    cached = next((int(row.split()[1]) for row in rows if row.startswith(f"{reclaimable} ")), 0)
    return most - used + cached
