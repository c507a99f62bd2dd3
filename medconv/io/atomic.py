"""Files that are either whole or absent: write beside the target, then rename."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.(?P<stem>[^.]+)\.tmp[0-9a-f]{8}(?P<suffixes>(?:\..*)?)")
"""Names that ``_temporary_name`` gives."""


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a hidden path beside ``target``; what is written there replaces the target on success.

    The temporary name keeps every suffix of the target, because writers choose the format by it. The folder
    of the target is made if it is absent. A run that is killed leaves at most a file named ``.*.tmp*``, never
    a half-written target.

    Args:
        target: The file to be created or replaced.

    Yields:
        A path that does not exist yet, in the folder of the target.

    Raises:
        FileNotFoundError: The block ended without writing the file.
        IsADirectoryError: The target is a folder.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_path(Path(folder) / "mask.nii.gz") as temporary:
        ...         temporary.name.endswith(".nii.gz"), temporary.write_text("x")
        ...     sorted(p.name for p in Path(folder).iterdir())
        (True, 1)
        ['mask.nii.gz']
    """
    target = Path(target)
    if target.is_dir():
        raise IsADirectoryError(f"expected a file name to write to, got the folder {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(_temporary_name(target.name))
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _flush(target.parent)


@contextmanager
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """The same for a folder, such as one of OME-Zarr: the block makes it, and it takes the place of the target.

    A folder cannot be replaced in one step: for an instant between two renames there is none.

    Args:
        target: The folder to be created or replaced.

    Yields:
        A path that does not exist yet, beside the target.

    Raises:
        NotADirectoryError: The target is a file.
    """
    target = Path(target)
    if target.exists() and not target.is_dir():
        raise NotADirectoryError(f"expected a folder to write to, got the file {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary, before = (target.with_name(_temporary_name(target.name)) for _ in range(2))
    try:
        yield temporary
        if target.exists():
            target.replace(before)
        temporary.replace(target)
    finally:
        for left in (temporary, before):
            shutil.rmtree(left, ignore_errors=True)
    _flush(target.parent)


def write_text(target: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all; bytes of a file's name that are none stay as they are."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def temporaries_in(folder: Path) -> list[tuple[Path, Path]]:
    """The temporary files in a folder, of writers that are at work or were killed, each with its target.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as name, atomic_path(Path(name) / "a.nii.gz") as temporary:
        ...     temporary.write_text("x"), [target.name for _, target in temporaries_in(Path(name))]
        (1, ['a.nii.gz'])
    """
    if not folder.is_dir():
        return []
    found = [(path, _TEMPORARY.fullmatch(path.name)) for path in sorted(folder.glob(".*"))]
    return [(path, path.with_name(match["stem"] + match["suffixes"])) for path, match in found if match]


def _temporary_name(name: str) -> str:
    stem, dot, suffixes = name.lstrip(".").partition(".")
    return f".{stem}.tmp{secrets.token_hex(4)}{dot}{suffixes}"


def _flush(path: Path) -> None:
    """Push a file or a folder entry to the disk, where the system can do that."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
