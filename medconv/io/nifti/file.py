"""Open a NIfTI file once, and turn everything that can go wrong with it into one kind of error."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from medconv.errors import BadImageError, MedconvError

SUFFIXES = (".nii.gz", ".nii")

_MAX_HEADER_BYTES = 64 * 2**20
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    struct.error,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)


@contextmanager
def open_nifti(path: Path) -> Iterator[tuple[Any, IO[bytes]]]:
    """Yield the header of a NIfTI-1 or NIfTI-2 file and the stream behind it; nothing else is read yet.

    Raises:
        BadImageError: The file is absent, a folder, of another type, or damaged, here or within the block.
    """
    check_path(path)
    with as_bad_image(str(path)), _open(path) as stream:
        yield _read_header(stream, str(path)), stream


def decode(raw: Any, stream: IO[bytes], dtype: npt.DTypeLike | None = None) -> npt.NDArray[Any]:
    """Read the voxels once, scaled as the header says, and the rest of the file for its checksum."""
    with np.errstate(over="ignore", invalid="ignore"):
        data = np.asanyarray(ArrayProxy(stream, raw, mmap=False), dtype=dtype)
    while stream.read(2**20):  # gzip compares its checksum when it meets the end
        pass
    return data


def check_path(path: Path) -> None:
    """Refuse what is not an existing NIfTI file by name.

    Raises:
        BadImageError: Absent, a folder, or without a NIfTI suffix.
    """
    if path.is_dir():
        raise BadImageError(f"{path}: expected a NIfTI file, got a folder; name a file in it")
    if not path.name.lower().endswith(SUFFIXES):
        raise BadImageError(
            f"{path}: expected a file ending in {' or '.join(SUFFIXES)}; convert it to NIfTI first"
        )
    if not path.is_file():
        raise BadImageError(f"{path}: no such file; check the path, relative ones start at {Path.cwd()}")


@contextmanager
def as_bad_image(name: str) -> Iterator[None]:
    """Report any way in which a file can be damaged as one error that names it."""
    try:
        yield
    except MedconvError:
        raise
    except MemoryError as error:
        raise BadImageError(
            f"{name}: does not fit into memory; free some, or crop or split the image"
        ) from error
    except PermissionError as error:
        raise BadImageError(f"{name}: not readable ({error.strerror}); ask its owner for access") from error
    except _DAMAGE as error:
        raise BadImageError(
            f"{name}: damaged or not NIfTI ({_first_line(error)}); copy it again from its source"
        ) from error


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if is_compressed(path) else path.open("rb")  # type: ignore[return-value]


def is_compressed(path: Path) -> bool:
    """Whether the name says gzip."""
    return path.name.lower().endswith(".gz")


def _read_header(stream: IO[bytes], name: str) -> Any:
    start = stream.read(Nifti2Header.sizeof_hdr)
    header_class = _header_class(start, name)
    bare = header_class(start[: header_class.sizeof_hdr], check=False)
    extent = max(int(bare.get_data_offset()), header_class.sizeof_hdr + 4)
    if extent > _MAX_HEADER_BYTES:
        raise BadImageError(
            f"{name}: damaged (voxels would start at byte {extent:,}); copy it again from its source"
        )
    # extensions state their own length, so they are parsed from a copy that ends where the voxels start
    stream.seek(0)
    return header_class.from_fileobj(io.BytesIO(stream.read(extent)))


def _header_class(start: bytes, name: str) -> type[Nifti1Header]:
    sizes = {int.from_bytes(start[:4], order) for order in ("little", "big")}  # type: ignore[arg-type]
    for header_class in (Nifti1Header, Nifti2Header):
        if header_class.sizeof_hdr in sizes and len(start) >= header_class.sizeof_hdr:
            return header_class
    raise BadImageError(
        f"{name}: damaged or not NIfTI (it starts with the bytes {start[:4].hex(' ') or '(none)'}, not "
        f"with a header "
        f"size of 348 or 540); copy it again from its source"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
