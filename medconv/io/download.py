"""Fetch a file over HTTP: resumed where it broke off, whole or absent."""

from __future__ import annotations

import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medconv.errors import ConfigError, DownloadError

Watch = Callable[[int, int | None], None]
"""Told how many bytes are there, and of how many, as far as the server says."""

_PIECE = 2**18
_PARTIAL, _NO_MORE = 206, 416
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)


@dataclass(frozen=True)
class Patience:
    """How long a bad connection is borne.

    Args:
        attempts: Tries in a row that bring nothing new.
        pause_s: Before the second; doubled each time.
        timeout_s: Without a byte.
    """

    attempts: int = 5
    pause_s: float = 1.0
    timeout_s: float = 30.0


def fetch(
    url: str, target: Path, *, watch: Watch = lambda *_: None, patience: Patience | None = None
) -> Path:
    """Fetch a file, continuing what an earlier call left.

    Until it is whole the file is called ``.NAME.part``, with the server's word for its version beside it; another
    version begins anew. An existing ``target`` is never touched.

    Args:
        url: ``http`` or ``https``.
        target: Where to write; its folder is made.
        watch: Sees the progress.
        patience: With a bad connection.

    Returns:
        ``target``.

    Raises:
        ConfigError: Another scheme, or ``target`` exists.
        DownloadError: The server refuses, the connection breaks again and again, or the disk is too small.
    """
    if not url.startswith(("https://", "http://")):
        raise ConfigError(f"expected an address that begins with https:// or http://, got {url!r}")
    if target.exists():
        raise ConfigError(f"{target} exists; nothing is overwritten")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part(target.with_name(f".{target.name}.part"), url)
    patience = patience or Patience()
    failures, reason = 0, ""
    while failures < patience.attempts:
        if failures:
            time.sleep(patience.pause_s * 2 ** (failures - 1))
        before = part.size
        try:
            if _continue(part, watch, patience.timeout_s):
                part.path.replace(target)
                part.forget()
                return target
            reason = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code != _NO_MORE and error.code < 500:
                raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error
            reason = f"{error.code} {error.reason}"
            if error.code == _NO_MORE:
                part.forget()
        except _BROKEN as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 1 if part.size > before else failures + 1
    raise DownloadError(
        f"{url}: {reason}; {part.size:,} bytes are kept, the same command continues there (tried {failures} times in a "
        "row without a new byte)"
    )


def _continue(part: _Part, watch: Watch, timeout_s: float) -> bool:
    """One connection; whether the file is whole after it."""
    request = urllib.request.Request(part.url, headers=part.headers())  # noqa: S310 - fetch checked the scheme
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        if part.url.startswith("https:") and not answer.geturl().startswith("https:"):
            raise DownloadError(
                f"{part.url}: the server leads to an address without encryption, {answer.geturl()}"
            )
        start, total = _extent(answer, part.size)
        if start != part.size:
            part.forget()
        part.remember(answer)
        _require_room(part.path, (total or 0) - part.size)
        watch(part.size, total)
        with part.path.open("ab") as stream:
            while piece := answer.read(_PIECE):
                stream.write(piece)
                watch(stream.tell(), total)
    return total is None or part.size == total


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """First byte of an answer, and the bytes of the whole file as far as the server says."""
    length = answer.headers.get("Content-Length")
    if answer.status != _PARTIAL:
        return 0, int(length) if length and length.isdecimal() else None
    place, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    first = place.partition("-")[0]
    if not first.isdecimal() or int(first) != have:
        raise DownloadError(
            f"expected the bytes from {have} on, the server sends {place or 'something else'}"
        )
    return have, int(whole) if whole.isdecimal() else None


def _require_room(path: Path, missing: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise DownloadError(f"expected room for {missing:,} more bytes in {path.parent}, {free:,} are free")


class _Part:
    """What is there of a file, and of which version it is."""

    def __init__(self, path: Path, url: str) -> None:
        self.path, self.url = path, url
        self._note = path.with_name(f"{path.name}.json")
        if self.version is None:
            self.forget()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self) -> str | None:
        """The server's word for the version that the part is of."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return str(note["version"]) if note["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def headers(self) -> dict[str, str]:
        """Ask for the rest, if the file is still the same one."""
        headers = {"User-Agent": "medconv", "Accept-Encoding": "identity"}
        if self.size and self.version:
            headers |= {"Range": f"bytes={self.size}-", "If-Range": self.version}
        return headers

    def remember(self, answer: Any) -> None:
        """Note the version; one that the server does not name, or only weakly, cannot be continued."""
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if version and not version.startswith("W/"):
            self._note.write_text(json.dumps({"url": self.url, "version": version}), encoding="utf-8")

    def forget(self) -> None:
        """Begin anew."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
