from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from medconv.errors import MedconvError
from medconv.inference.spacious import spacious_array


def test_a_large_array_lies_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    small = spacious_array((2, 3, 4), np.float16, largest_in_memory_bytes=48)
    large = spacious_array((2, 3, 4), np.float16, largest_in_memory_bytes=47)
    assert not isinstance(small, np.memmap)
    assert isinstance(large, np.memmap)
    assert (large.shape, large.dtype) == ((2, 3, 4), np.float16)
    assert list(tmp_path.iterdir()) == []
    large[:] = np.arange(24).reshape(2, 3, 4)
    assert large[1, 2, 3] == 23


def test_a_disk_without_room_is_told_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        MedconvError, match=r"expected 0\.5 GiB for probabilities in .*, got: No space left.*TMPDIR"
    ):
        spacious_array((2**28,), np.float16, largest_in_memory_bytes=0)
