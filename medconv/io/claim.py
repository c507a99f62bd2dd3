"""One case, one job: who makes a file first, while several jobs share a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BUSY = (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN)


@contextmanager
def claim(target: str | Path) -> Iterator[bool]:
    """Whether this job may make ``target``; false while another job holds the claim.

    The claim is a lock of the operating system on a hidden file beside the target: it is gone with the process
    that holds it, however that ends, so a killed job never blocks its successors. Where the file system or the
    operating system has no such locks, everybody may: two jobs then do the same work, and as files appear whole
    (``atomic_path``), the later one replaces the earlier one by its equal.

    Args:
        target: The file to be made; its folder is made if it is absent.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, claim(Path(folder) / "a.nii") as mine:
        ...     with claim(Path(folder) / "a.nii") as other:
        ...         mine, other
        (True, False)
    """
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield True
        return
    lock = _lock_of(path)
    descriptor = _locked(lock)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            lock.unlink(missing_ok=True)  # while it is held: nobody else can be working under it
            os.close(descriptor)


def has_claim(target: str | Path) -> bool:
    """Whether somebody makes ``target`` or was killed while at it."""
    return _lock_of(Path(target)).exists()


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.lock")


def _locked(lock: Path) -> int | None:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                os.close(descriptor)
                return None
            return descriptor  # no locks here
        if _is_still(lock, descriptor):
            return descriptor
        os.close(descriptor)  # its holder removed it between our opening and locking it


def _is_still(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
