"""Arrays in an uncompressed ``.npz``: read where they lie on disk, page by page, instead of as a whole."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_LOCAL_HEADER = struct.Struct("<26x2H")
"""Of a zip member: the lengths of its name and of its extra field stand at the end of 30 bytes."""

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""What reading a truncated, altered or foreign file may raise."""


def is_intact(path: Path) -> bool:
    """Whether the file exists and every byte agrees with the check sums written with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except DAMAGED:
        return False


def map_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file written by ``numpy.savez``, memory-mapped and read-only.

    The system keeps in memory what was read while there is room, once for all processes, and lets go of it
    when there is none: the fast tier and the large tier are the same file.

    Raises:
        ValueError: A member is compressed, holds Python objects, or the file is damaged.
    """
    # one map for all of them: each holds a file open, of which a process may have few
    whole = np.memmap(path, np.uint8, mode="r")
    with zipfile.ZipFile(path) as archive, path.open("rb") as stream:
        return {
            member.filename.removesuffix(".npy"): _map_member(path, whole, stream, member)
            for member in archive.infolist()
        }


def _map_member(
    path: Path, whole: npt.NDArray[np.uint8], stream: Any, member: zipfile.ZipInfo
) -> npt.NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{path}: {member.filename} is compressed and cannot be mapped")
    stream.seek(member.header_offset)
    name_bytes, extra_bytes = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    stream.seek(name_bytes + extra_bytes, 1)
    version = np.lib.format.read_magic(stream)
    shape, fortran_order, dtype = _HEADER_READERS[version](stream)
    if dtype.hasobject:
        raise ValueError(f"{path}: {member.filename} holds Python objects, which are never loaded")
    if 0 in shape:
        return np.empty(shape, dtype)
    order: Any = "F" if fortran_order else "C"
    try:
        return np.ndarray(shape, dtype, whole.data, stream.tell(), order=order)
    except TypeError as error:  # the file ends before the array does
        raise ValueError(f"{path}: {member.filename} is cut short") from error
