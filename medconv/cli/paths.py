"""Files and folders that a command is given: refused before any work is done."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from medconv.errors import ConfigError


def require_file(path: str | Path, what: str) -> Path:
    """The path, if there is such a file.

    Args:
        path: As the user typed it.
        what: What it should be, such as ``"checkpoint"``.

    Raises:
        ConfigError: There is nothing, or a folder.

    Example:
        >>> require_file("nowhere.ckpt", "checkpoint")
        Traceback (most recent call last):
        medconv.errors.ConfigError: no file nowhere.ckpt; expected a checkpoint, relative paths start at ...
    """
    file = Path(path)
    if file.is_dir():
        raise ConfigError(f"expected a {what}, {path} is a folder; name the file in it")
    if not file.exists():
        start = "" if file.is_absolute() else f", relative paths start at {Path.cwd()}"
        raise ConfigError(f"no file {path}; expected a {what}{start}")
    return file


def require_output_folder(path: str | Path, option: str = "-o") -> Path:
    """The folder to write into, made if it is absent; whether it can be written is tried.

    Args:
        path: As the user typed it.
        option: What errors call it.

    Raises:
        ConfigError: There is a file of this name, or nothing can be written there.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{option}: expected a folder, {path} is a file; name another")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{option}: cannot write into {path} ({error.strerror}); name another folder"
        ) from error
    return folder


def require_output_file(path: str | Path, suffix: str, option: str) -> Path:
    """The file to write, if its name ends in ``suffix`` and its folder exists and can be written.

    Raises:
        ConfigError: Another ending, a folder of this name, an absent folder, or one where nothing can be written.
    """
    file = Path(path)
    if file.suffix.lower() != suffix or file.is_dir():
        raise ConfigError(f"{option}: expected a file ending in {suffix}, got {path}")
    if not file.parent.exists():  # more likely mistyped than meant
        raise ConfigError(f"{option}: no folder {file.parent}; make it, or correct {path}")
    require_output_folder(file.parent, option)
    return file


def distinct_names(paths: Sequence[Path], what: str) -> list[str]:
    """Short names: file names, with as much of the folders as tells them apart.

    Args:
        paths: Files.
        what: What errors call them, such as ``"tables"``.

    Raises:
        ConfigError: One file is named twice.

    Example:
        >>> distinct_names([Path("runs/plain/best.ckpt"), Path("runs/sym/best.ckpt")], "checkpoints")
        ['plain/best.ckpt', 'sym/best.ckpt']
    """
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = [Path(*path.parts[-depth:]).as_posix() for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"expected different {what}, got one twice: {', '.join(map(str, paths))}")
