"""Arrays that may be larger than memory: on disk, where they would fill it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError

LARGEST_IN_MEMORY_BYTES = 2**30


def spacious_array(
    shape: Sequence[int], dtype: npt.DTypeLike, largest_in_memory_bytes: int = LARGEST_IN_MEMORY_BYTES
) -> npt.NDArray[np.floating]:
    """An empty array in memory; a large one in a temporary file that is gone with the array.

    The space in the file is taken at once: a disk that fills up later would end the program without a word.

    Args:
        shape: Of the array.
        dtype: Of its values.
        largest_in_memory_bytes: From here on it lies in a file; the system keeps as much of it in memory as fits.

    Raises:
        MedconvError: The disk for temporary files has no room for it.

    Example:
        >>> spacious_array((2, 3), np.float16).nbytes
        12
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size <= largest_in_memory_bytes:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="medconv-") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return np.memmap(file, dtype, "r+", shape=tuple(shape))
    except OSError as error:
        raise MedconvError(
            f"expected {size / 2**30:.1f} GiB for probabilities in {tempfile.gettempdir()}, got: {error.strerror}; "
            f"free some, or name another folder in the environment variable TMPDIR"
        ) from error
