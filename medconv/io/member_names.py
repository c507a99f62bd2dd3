"""Names in an archive: which may be written, and which stand in each other's way."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from medconv.errors import ArchiveError

MAX_FILES = 500_000
"""Files and folders of an archive."""

_MAX_NAME = 1024


def safe_parts(name: str, archive: str) -> tuple[str, ...]:
    """The parts of a member's path, if it stays inside whatever the system.

    Raises:
        ArchiveError: It leads out of the folder, or is no plain name.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    leads_out = posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts)
    if leads_out or not name.isprintable() or len(name) > _MAX_NAME or "\\" in name:
        raise ArchiveError(
            f"{archive}: {name[:100]!r} would be written outside the folder, or is no plain name"
        )
    return posix.parts


def is_left_over(parts: tuple[str, ...]) -> bool:
    """Whether a system left it behind: ``._x``, ``.DS_Store``, ``__MACOSX``."""
    return "__MACOSX" in parts or parts[-1] == ".DS_Store" or parts[-1].startswith("._")


class TakenNames:
    """The files and folders of an archive so far, whatever their case: not every system tells ``a`` from ``A``.

    Args:
        archive: For messages.
        most: Files and folders that there may be.
    """

    def __init__(self, archive: str, most: int) -> None:
        self._archive, self._most = archive, most
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def take(self, parts: tuple[str, ...], *, is_folder: bool) -> None:
        """Note a file, or a folder, and the folders that it lies in.

        Raises:
            ArchiveError: A file is there twice, a name is a file and a folder, or there are too many.
        """
        name, keys = "/".join(parts), ["/".join(parts[: n + 1]).casefold() for n in range(len(parts))]
        folders = keys if is_folder else keys[:-1]
        if not is_folder and keys[-1] in self._files:
            raise ArchiveError(f"{self._archive}: {name!r} is there twice")
        if self._files.intersection(folders) or (not is_folder and keys[-1] in self._folders):
            raise ArchiveError(
                f"{self._archive}: expected each name to be a file or a folder, {name[:100]!r} makes one both"
            )
        self._folders.update(folders)
        if not is_folder:
            self._files.add(keys[-1])
        if len(self._files) + len(self._folders) > self._most:
            raise ArchiveError(
                f"{self._archive}: expected at most {self._most:,} files and folders, there are more"
            )
