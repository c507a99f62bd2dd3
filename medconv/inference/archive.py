"""A torch archive as plain values, or a reason why not: damage is found before anything is unpickled."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medconv.errors import CheckpointError


def load_plain(path: Path) -> dict[str, Any]:
    """The content of a file written by ``torch.save``: tensors on the CPU and plain values, never code.

    Raises:
        CheckpointError: The file is missing, truncated, altered, or holds anything but tensors and plain
            values.

    Cost:
        Reads the file twice: torch itself does not notice altered bytes, the archive's checksums do.
    """
    _check_archive(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: it holds Python objects, which could run code, instead of weights and plain values; "
            f"nothing of it was run. Give a checkpoint written by 'medconv fit' ({_first_line(error)})"
        ) from error
    except Exception as error:  # a forged archive fails in the reader in many ways
        raise CheckpointError(f"{path}: {_DAMAGED} ({_first_line(error)})") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: not a medconv checkpoint (it holds one {type(content).__name__}); "
            "give a .ckpt written by 'medconv fit'"
        )
    return dict(content)


_DAMAGED = "the file is damaged; copy it again from its source, or take another checkpoint of the run"


def _check_archive(path: Path) -> None:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "nothing"
        raise CheckpointError(f"{path}: expected a checkpoint file, got {what}; check the path")
    try:
        is_archive = zipfile.is_zipfile(path)
        altered = _altered_entry(path) if is_archive else None
    except Exception as error:  # zipfile raises a dozen kinds, from UnicodeDecodeError to OverflowError
        raise CheckpointError(f"{path}: {_DAMAGED} ({_first_line(error)})") from error
    if not is_archive:
        raise CheckpointError(f"{path}: {_what_else(path)}")
    if altered is not None:
        raise CheckpointError(f"{path}: {_DAMAGED} (entry {altered!r} differs from its checksum)")


def _altered_entry(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        # torch stores without compression: anything else could unpack to far more than the file's size
        packed = [item.filename for item in archive.infolist() if item.compress_type != zipfile.ZIP_STORED]
        return packed[0] if packed else archive.testzip()


def _what_else(path: Path) -> str:
    """What a file is that is no archive."""
    with path.open("rb") as file:
        start = file.read(2)
    if start in (b"", b"P", b"PK"):
        return f"the file is truncated at {path.stat().st_size} bytes; copy it again"
    return "not a medconv checkpoint; give a .ckpt written by 'medconv fit'"


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
