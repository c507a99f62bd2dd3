"""Write probabilities and other numbers from 0 to 1 in 16 bits a voxel, piece by piece."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Header

from medconv.io.nifti.file import is_compressed
from medconv.io.nifti.write import header_for, require_shape, whole_file
from medconv.io.volume import Volume

_STEPS = 2**15
"""A power of two: its inverse is exact in the header, and so are 0, 1/2 and 1."""
_QUICK = 1
"""Compression of gzip: higher ones save a few per cent and cost several times the time."""


def write_shares(path: str | Path, shares: npt.NDArray[Any], like: Volume) -> None:
    """Write numbers from 0 to 1 on the grid of ``like``, channels as the fourth axis.

    NIfTI knows no half precision. Its 16-bit integers with a scale of 1/32768 take the same space and are exact
    to 0.000016; every reader that honours ``scl_slope`` shows the numbers themselves.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; the folder is made if it is absent.
        shares: ``(C, *S)`` or ``(*S)``, finite; what lies outside 0 to 1 is taken to the nearer end.
        like: The volume that gives the grid and header.

    Raises:
        BadImageError: A name without a NIfTI suffix.
        ConfigError: ``path`` is the file that ``like`` was read from.
        GeometryError: The spatial shape is not that of ``like``.

    Cost:
        One slice in memory, however large the array is.
    """
    channels = shares if shares.ndim == len(like.shape) + 1 else shares[None]
    require_shape(channels.shape[1:], like)
    header = _header(like, len(channels))
    with whole_file(path, like) as temporary, _open(temporary) as stream:
        header.write_to(stream)
        stream.write(bytes(int(header["vox_offset"]) - stream.tell()))  # no extensions
        for piece in _pieces(channels):
            values = np.rint(np.clip(piece, 0, 1) * np.float32(_STEPS))
            stream.write(values.astype(header.get_data_dtype()).tobytes("F"))


def _header(like: Volume, channels: int) -> Nifti1Header:
    header = header_for(like, np.dtype(np.uint16))
    header.set_data_shape(like.shape if channels == 1 else (*like.shape, channels))
    header.set_slope_inter(1 / _STEPS, 0)
    header["cal_min"], header["cal_max"] = 0, 1
    header["vox_offset"] = header.sizeof_hdr + 4
    # magic of the format with header and voxels in one file
    header["magic"] = header.single_magic
    return cast(Nifti1Header, header)


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if not is_compressed(path):
            yield file
            return
        # without the name of the temporary file, and the time, the same numbers give the same file
        with gzip.GzipFile("", "wb", compresslevel=_QUICK, fileobj=file, mtime=0) as stream:
            yield cast(IO[bytes], stream)


def _pieces(channels: npt.NDArray[Any]) -> Iterator[npt.NDArray[np.float32]]:
    for channel in channels:
        for index in range(channel.shape[-1]):
            yield channel[..., index].astype(np.float32)
