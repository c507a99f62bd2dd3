"""Unpack an archive that nobody has to trust: no links, nothing outside the folder, no bombs."""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from medconv.errors import ArchiveError, ConfigError
from medconv.io.member_names import MAX_FILES, TakenNames, is_left_over, safe_parts

MAX_GROWTH = 200
"""Times that a whole archive may grow. Label maps shrink a hundredfold and more, but not all that lies beside them."""

_PIECE = 2**20
_PADDING = 2**20
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
_BAD_NAMES = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
"""What a system answers where it cannot have such a name; a full disk or a lack of rights is no fault of an archive."""


@dataclass(frozen=True)
class _Member:
    """A file in an archive, ``stream`` being where its bytes are."""

    name: str
    is_folder: bool
    is_file: bool
    stream: IO[bytes] | None


def unpack(archive: Path, target: Path) -> Path:
    """Unpack a tar or zip archive into a new folder; it appears when all is there, or not at all.

    What systems leave behind (``._x``, ``.DS_Store``, ``__MACOSX``) is left out. Where everything lies in one folder
    that is called like ``target``, that folder is not doubled.

    Args:
        archive: ``.tar``, ``.tar.gz``, ``.zip`` and so on; told by what is inside.
        target: The folder to make.

    Returns:
        ``target``.

    Raises:
        ConfigError: ``target`` exists.
        ArchiveError: A damaged archive, or one with links, devices, doubled names, names that lead out of the
            folder or that the system cannot have, too many files and folders, or far more bytes than it has itself.
        OSError: The disk is full, or may not be written to.
    """
    if target.exists():
        raise ConfigError(f"{target} exists; nothing is overwritten: move it away, or name another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        folder.chmod(0o755)
        _write_all(archive, folder)
        inner = folder / target.name
        entries = list(folder.iterdir())
        if not entries:
            raise ArchiveError(f"{archive.name}: expected files, the archive is empty")
        (inner if entries == [inner] and inner.is_dir() else folder).replace(target)
    except _DAMAGE as error:
        if isinstance(error, ArchiveError):
            raise
        raise _damaged(archive, error) from error
    except OSError as error:
        # bz2 has no error of its own; zipfile looks where a damaged index says, even before the file's begin
        if error.errno is None or (error.errno == errno.EINVAL and not error.filename):
            raise _damaged(archive, error) from error
        if error.filename and error.errno in _BAD_NAMES:
            raise ArchiveError(
                f"{archive.name}: a file cannot be called so here ({error.strerror}: "
                f"{Path(error.filename).name[:100]!r}); unpack it by hand under another name"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    return ArchiveError(f"{archive.name}: the archive is damaged ({error}); fetch it again")


def _write_all(archive: Path, folder: Path) -> None:
    room = min(archive.stat().st_size * MAX_GROWTH, shutil.disk_usage(folder).free)
    taken = TakenNames(archive.name, MAX_FILES)
    with _members(archive) as members:
        for member in members:
            parts = safe_parts(member.name, archive.name)
            if not parts or is_left_over(parts):
                continue
            if not (member.is_file or member.is_folder):
                raise ArchiveError(
                    f"{archive.name}: {member.name!r} is a link or a device; only files are unpacked"
                )
            taken.take(parts, is_folder=member.is_folder)
            path = folder.joinpath(*parts)
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            room = _copy(member, path, room, archive.name)


def _copy(member: _Member, path: Path, room: int, name: str) -> int:
    """Write a file, counting what really comes; returns the room that is left."""
    assert member.stream is not None
    with member.stream as source, path.open("xb") as sink:
        while piece := source.read(_PIECE):
            room -= len(piece)
            if room < 0:
                raise ArchiveError(
                    f"{name}: expected at most {MAX_GROWTH} times the archive's own size, and no more than the disk "
                    "has free; there is more in it: too little room, or made to fill the disk"
                )
            sink.write(piece)
    return room


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive, tarinfo=_StrictHeader) as opened_tar:
            yield _tar_members(opened_tar, archive)
    else:
        raise ArchiveError(f"{archive.name}: expected a tar or zip archive, got something else")


class _StrictHeader(tarfile.TarInfo):
    """A header that cannot be read is an error, where ``tarfile`` takes it for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf.strip(b"\0"):
                raise tarfile.ReadError(f"a member's header: {error}") from error
            raise


def _tar_members(opened: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for info in opened:
        # a sparse file claims bytes that are not in the archive
        is_file = info.isreg() and not info.issparse()
        yield _Member(info.name, info.isdir(), is_file, opened.extractfile(info) if is_file else None)
    _read_to_the_end(opened, archive)


def _read_to_the_end(opened: tarfile.TarFile, archive: Path) -> None:
    """What packs a tar compares its checksum at the end of the stream, behind the last member."""
    assert opened.fileobj is not None
    room = archive.stat().st_size * MAX_GROWTH + _PADDING
    while piece := opened.fileobj.read(_PIECE):
        room -= len(piece)
        if room < 0:
            raise ArchiveError(f"{archive.name}: expected the end after the last file, there is far more")


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
        yield _Member(info.filename, info.is_dir(), is_file, opened.open(info) if is_file else None)
