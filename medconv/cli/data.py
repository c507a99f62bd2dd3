"""`medconv data`: public datasets, listed and fetched; nothing is fetched unless `get` is typed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import unquote, urlsplit

from jsonargparse import Namespace

from medconv.catalogue import did_you_mean
from medconv.cli.parser import command_parser, parse
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.cli.cards import Card

_DESCRIPTION = """\
usage: medconv data list [NAME] [--json]
       medconv data get NAME [DEST] [options]

Public datasets: list them, or get one. Nothing is fetched unless `get` is typed, and nothing is overwritten.

  medconv data list
  medconv data get msd_hippocampus data/

The archive is fetched with progress, continued where an earlier attempt broke off, compared with the published
checksum, and unpacked into DEST (default: data). medconv data get --help shows the options.
"""

_VERBS = ("list", "get")


def main(argv: Sequence[str]) -> int:
    """List or get. Returns the exit code."""
    words = list(argv[1:])
    if not words or words[0] in ("-h", "--help"):
        print(_DESCRIPTION, end="")
        return 0 if words else 2
    verb, rest = words[0], words[1:]
    if verb not in _VERBS:
        raise ConfigError(
            f"expected list or get, got {verb!r}{did_you_mean(verb, _VERBS)} (see medconv data --help)"
        )
    return _list(rest) if verb == "list" else _get(rest)


def _list(words: Sequence[str]) -> int:
    parser = command_parser("data list", "Public datasets that medconv knows where to find.")
    parser.add_argument("name", nargs="?", help="show all that is known of one")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parse(parser, words)
    from medconv.cli.cards import all_cards, find_card

    cards = [find_card(options.name)] if options.name else list(all_cards().values())
    if options.json:
        print(json.dumps([asdict(card) for card in cards], indent=1))
    elif options.name:
        print("\n".join(f"{key:16} {value}" for key, value in asdict(cards[0]).items()))
    else:
        width = max(len(card.name) for card in cards)
        for card in cards:
            print(f"{card.name:{width}}  {card.size:18}  {card.licence.partition(';')[0]:12}  {card.what}")
    return 0


def _get(words: Sequence[str]) -> int:
    options = _parse_get(words)
    from medconv.cli.cards import find_card
    from medconv.io.checksum import check_checksum, checksum_of, require_checksum
    from medconv.io.download import fetch
    from medconv.io.unpack import unpack

    card, folder = find_card(options.name), Path(options.dest)
    address = options.address or card.address
    wanted = check_checksum(options.checksum) if options.checksum else card.checksum
    target, archive = folder / card.folder, folder / _archive_name(address)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"expected a folder to write into, {folder} is a file; name another")
    if target.exists():
        raise ConfigError(f"{target} exists; nothing is overwritten: move it away, or name another DEST")
    print("\n".join(_about(card, address)), flush=True)
    if archive.exists() and not archive.is_file():
        raise ConfigError(
            f"{archive} is no file, the archive would be written there; move it away, or name another DEST"
        )
    was_there = archive.is_file()
    if was_there:
        print(f"archive    {archive} is there already and is used", flush=True)
    else:
        progress = Transfer(sys.stderr)
        try:
            fetch(address, archive, watch=progress)
        finally:
            progress.clear()
    found = checksum_of(archive)
    _verify(archive, wanted, was_there=was_there, verify=require_checksum)
    unpack(archive, target)
    if not (was_there or options.keep_archive):
        archive.unlink()
    print("\n".join(_outcome(card, target, wanted, found)))
    return 0


def _archive_name(address: str) -> str:
    """The file that an address names; what follows ``?`` or ``#`` is for the server."""
    try:
        name = unquote(urlsplit(address).path).rstrip("/").rpartition("/")[2]
    except ValueError:
        name = ""
    if name in ("", ".", "..") or not name.isprintable() or "\\" in name:
        raise ConfigError(
            f"expected an address that ends in the name of an archive, such as https://host/set.tar, got {address!r}"
        )
    return name


def _verify(archive: Path, wanted: str | None, *, was_there: bool, verify: object) -> None:
    """Compare, and take a wrong file that was fetched just now away, so that the next attempt begins anew."""
    from medconv.errors import DownloadError

    if wanted is None:
        return
    try:
        verify(archive, wanted)  # type: ignore[operator]
    except DownloadError as error:
        if was_there:
            raise DownloadError(f"{error}; move {archive} away to fetch it anew") from error
        archive.unlink()
        raise DownloadError(f"{error}; it was deleted, nothing was unpacked") from error


def _about(card: Card, address: str) -> list[str]:
    return [
        f"{card.title}: {card.what}",
        f"licence    {card.licence}",
        f"cite       {card.cite}",
        f"from       {address} ({card.size})",
    ]


def _outcome(card: Card, target: Path, wanted: str | None, found: str) -> list[str]:
    nothing = "nothing: no checksum is published for this archive"
    verified = f"verified   {wanted or nothing}"
    reads = "" if card.medconv_reads_it else "; medconv does not read this layout, convert it first"
    following = [f"next       medconv check {target}"] if card.medconv_reads_it else []
    return [verified, f"got        {found}", f"written    {target} ({card.layout}{reads})", *following]


class Transfer:
    """One line of progress on a terminal, nothing in a log file.

    Args:
        stream: Standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._is_on = stream, stream.isatty()
        self._start_s, self._first, self._shown_s = time.monotonic(), -1, 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Show how far a transfer is, a few times a second."""
        now = time.monotonic()
        if self._first < 0:
            self._first, self._start_s = done, now
        if not self._is_on or (now - self._shown_s < 0.2 and done != total):
            return
        self._shown_s = now
        speed = (done - self._first) / max(now - self._start_s, 1e-3) / 1e6
        share = f" of {total / 1e6:,.1f} MB, {done / total:.0%}" if total else " MB"
        self._stream.write(f"\r\x1b[K{done / 1e6:,.1f}{share}, {speed:,.1f} MB/s")
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line."""
        if self._is_on:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _parse_get(words: Sequence[str]) -> Namespace:
    parser = command_parser("data get", "Fetch a public dataset, verify it and unpack it.")
    add = parser.add_argument
    add("name", help="see medconv data list")
    add("dest", nargs="?", default="data", help="the folder of the dataset is made in it")
    add(
        "--checksum",
        type=str,
        default=None,
        help="algorithm:hex to compare with, instead of the published one",
    )
    add("--address", type=str, default=None, help="of a mirror")
    add("--keep-archive", action="store_true", help="leave the archive beside the folder")
    return parse(parser, words)
