"""The cards of public datasets that travel with medconv: what, licence, address, checksum, layout, labels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, UnknownNameError

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Card:
    """A public dataset.

    Args:
        name: What ``medconv data get`` calls it.
        title: Its own name.
        what: One line.
        cases: How many, by part.
        channels: Of the images.
        labels: Value to name.
        licence: Of the data, not of medconv.
        cite: Who made it.
        home: Its page.
        address: Of the archive.
        size_mb: Of the archive in 10⁶ bytes, about; ``None``: not published.
        checksum: ``algorithm:hex``; ``None``: not published.
        checksum_source: Who published it.
        folder: What the unpacked folder is called.
        layout: How files lie in it.
        medconv_reads_it: Whether commands take the folder as it is.
    """

    name: str
    title: str
    what: str
    cases: dict[str, int]
    channels: list[str]
    labels: dict[int, str]
    licence: str
    cite: str
    home: str
    address: str
    size_mb: float | None
    checksum: str | None
    checksum_source: str
    folder: str
    layout: str
    medconv_reads_it: bool

    @property
    def size(self) -> str:
        """For people."""
        if self.size_mb is None:
            return "size not published"
        return f"{self.size_mb:g} MB" if self.size_mb < 1000 else f"{self.size_mb / 1000:.1f} GB"


def cards_folder(package: Path = _PACKAGE) -> Path:
    """The folder of the cards.

    Args:
        package: The folder of the package ``medconv``.

    Raises:
        ConfigError: The installation carries none.
    """
    installed, checkout = package / "cards", package.parent / "data"
    if installed.is_dir():
        return installed
    if checkout.is_dir() and (package.parent / "pyproject.toml").is_file():
        return checkout
    raise ConfigError(f"expected dataset cards in {installed}, found none; reinstall medconv")


def read_card(path: Path) -> Card:
    """Read a card; every key is there and none is unknown.

    Raises:
        ConfigError: It is not so.
    """
    values: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    wanted = {field.name for field in fields(Card)} - {"name"}
    if not isinstance(values, dict) or set(values) != wanted:
        differing = sorted(map(str, wanted ^ set(values if isinstance(values, dict) else ())))
        raise ConfigError(
            f"{path}: expected the keys of a dataset card, missing or unknown: {', '.join(differing)}"
        )
    return Card(path.stem, **values)


def all_cards(folder: Path | None = None) -> dict[str, Card]:
    """All cards by name."""
    return {path.stem: read_card(path) for path in sorted((folder or cards_folder()).glob("*.yaml"))}


def find_card(name: str) -> Card:
    """The card of a name.

    Raises:
        UnknownNameError: There is none; the text offers the nearest.

    Example:
        >>> find_card("msd_hippocampus").folder
        'Task04_Hippocampus'
    """
    cards = all_cards()
    if name not in cards:
        raise UnknownNameError(
            f"no dataset {name!r}{did_you_mean(name, cards) or '.'} There are: {', '.join(cards)}"
        )
    return cards[name]
