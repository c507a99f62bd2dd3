"""Checksums of files, written ``algorithm:hex``."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from medconv.errors import ConfigError, DownloadError

_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_PIECE = 2**20


def check_checksum(text: str) -> str:
    """Return a checksum in lower case, if it is one.

    Raises:
        ConfigError: Another algorithm or another number of digits.

    Example:
        >>> check_checksum("MD5:9D24DBA78A72977DBD1D2E110310F31B")
        'md5:9d24dba78a72977dbd1d2e110310f31b'
    """
    algorithm, _, digits = text.lower().partition(":")
    if algorithm not in _DIGITS or not re.fullmatch(rf"[0-9a-f]{{{_DIGITS[algorithm]}}}", digits):
        kinds = ", ".join(f"{name} ({number} digits)" for name, number in _DIGITS.items())
        raise ConfigError(f"expected a checksum like sha256:0a1b…, of {kinds}; got {text!r}")
    return f"{algorithm}:{digits}"


def checksum_of(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return f"{algorithm}:{digest.hexdigest()}"


def require_checksum(path: Path, expected: str) -> None:
    """Refuse a file with another checksum.

    Raises:
        DownloadError: It has; with both.
    """
    found = checksum_of(path, expected.partition(":")[0])
    if found != expected:
        raise DownloadError(
            f"{path.name}: expected the checksum {expected}, got {found}: the file is damaged or not the one that was "
            "published"
        )
