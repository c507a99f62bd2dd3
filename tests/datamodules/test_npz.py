"""Mapped arrays are the stored arrays; damage is found; objects are never loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medconv.datamodules.npz import is_intact, map_arrays

ARRAYS = {
    "image": np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32),
    "label": np.random.default_rng(1).integers(0, 3, (1, 5, 6, 7)).astype(np.uint8),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
    "empty": np.zeros((0, 3), np.int32),
    "scalar": np.array(4.5),
}


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    return tmp_path / "a.npz"


def test_mapped_arrays_are_the_stored_ones(path):
    mapped = map_arrays(path)
    assert set(mapped) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert mapped[name].dtype == array.dtype
        np.testing.assert_array_equal(mapped[name], array)


def test_mapped_arrays_are_maps_and_read_only(path):
    image = map_arrays(path)["image"]
    assert not image.flags.owndata
    assert isinstance(image.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        image[0] = 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files can be counted on Linux only")
def test_a_file_is_held_open_once_however_many_arrays_it_has(path):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    mapped = map_arrays(path)
    assert open_files() <= before + 1
    assert len(mapped) > 1


def test_every_flipped_byte_of_the_data_is_found(path):
    whole = path.read_bytes()
    assert is_intact(path)
    start = whole.index(ARRAYS["image"].tobytes())
    for position in range(start, start + ARRAYS["image"].nbytes, 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert not is_intact(path)


@pytest.mark.parametrize("length", [0, 10, 500, -1])
def test_a_truncated_file_is_not_intact(path, length):
    path.write_bytes(path.read_bytes()[:length])
    assert not is_intact(path)


def test_an_absent_or_foreign_file_is_not_intact(tmp_path):
    assert not is_intact(tmp_path / "absent.npz")
    (tmp_path / "text.npz").write_text("not a zip")
    assert not is_intact(tmp_path / "text.npz")


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "o.npz", evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects, which are never loaded"):
        map_arrays(tmp_path / "o.npz")


def test_compressed_files_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="is compressed and cannot be mapped"):
        map_arrays(tmp_path / "c.npz")
