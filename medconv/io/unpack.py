"""Unpack an archive that nobody has to trust: no links, nothing outside the folder, no bombs."""

from __future__ import annotations

import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from medconv.errors import ArchiveError, ConfigError

MAX_FILES = 500_000
MAX_GROWTH = 200
"""Times that a whole archive may grow. Label maps shrink a hundredfold and more, but not all that lies beside them."""

_PIECE = 2**20
_MAX_NAME = 1024
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


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
            folder, too many files, or far more bytes than it has itself.
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
        raise ArchiveError(f"{archive.name}: the archive is damaged ({error}); fetch it again") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return target


def _write_all(archive: Path, folder: Path) -> None:
    room = min(archive.stat().st_size * MAX_GROWTH, shutil.disk_usage(folder).free)
    seen: set[str] = set()
    with _members(archive) as members:
        for member in members:
            parts = _safe_parts(member.name, archive.name)
            if not parts or _is_left_over(parts):
                continue
            if not (member.is_file or member.is_folder):
                raise ArchiveError(
                    f"{archive.name}: {member.name!r} is a link or a device; only files are unpacked"
                )
            path = folder.joinpath(*parts)
            if member.is_folder:
                path.mkdir(parents=True, exist_ok=True)
                continue
            key = "/".join(parts).casefold()
            if key in seen:
                raise ArchiveError(f"{archive.name}: {member.name!r} is there twice")
            seen.add(key)
            if len(seen) > MAX_FILES:
                raise ArchiveError(f"{archive.name}: expected at most {MAX_FILES:,} files, there are more")
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
        with tarfile.open(archive) as opened_tar:
            yield _tar_members(opened_tar)
    else:
        raise ArchiveError(f"{archive.name}: expected a tar or zip archive, got something else")


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    for info in opened:
        # a sparse file claims bytes that are not in the archive
        is_file = info.isreg() and not info.issparse()
        yield _Member(info.name, info.isdir(), is_file, opened.extractfile(info) if is_file else None)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_file = not info.is_dir() and kind in (0, stat.S_IFREG)
        yield _Member(info.filename, info.is_dir(), is_file, opened.open(info) if is_file else None)


def _safe_parts(name: str, archive: str) -> tuple[str, ...]:
    """The parts of a member's path, if it stays inside whatever the system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    leads_out = posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts)
    if leads_out or not name.isprintable() or len(name) > _MAX_NAME or "\\" in name:
        raise ArchiveError(
            f"{archive}: {name[:100]!r} would be written outside the folder, or is no plain name"
        )
    return posix.parts


def _is_left_over(parts: tuple[str, ...]) -> bool:
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")
