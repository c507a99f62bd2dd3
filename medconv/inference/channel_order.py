"""Channels in another order than the network was trained with: found where the files say their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from medconv.errors import ConfigError, DatasetError
from medconv.io.description import channel_names_in, read_description


def check_channel_order(folders: Iterable[Path], expected: Sequence[str]) -> None:
    """Compare with the ``dataset.json`` in each folder, or in the one above, if there is one.

    Args:
        folders: Of the images.
        expected: Names of the network's channels, in order.

    Raises:
        ConfigError: The same channels in another order.
    """
    descriptions = {
        parent / "dataset.json" for folder in folders for parent in (folder, folder.resolve().parent)
    }
    for path in sorted(description for description in descriptions if description.is_file()):
        try:
            names = channel_names_in(read_description(path), [])
        except DatasetError:  # a file that describes something else
            continue
        refuse_other_order(names, expected, path)


def refuse_other_order(names: Sequence[str], expected: Sequence[str], source: Path) -> None:
    """Raise if both name the same channels in another order; other names say nothing about the order.

    Raises:
        ConfigError: They do.

    Example:
        >>> refuse_other_order(("T2", "T1"), ("T1", "T2"), Path("dataset.json"))
        Traceback (most recent call last):
        medconv.errors.ConfigError: dataset.json: its channels are T2, T1, but the network was trained on T1, T2; ...
        >>> refuse_other_order(("image_0", "image_1"), ("T1", "T2"), Path("cases.csv"))
    """
    ours, theirs = ([name.strip().lower() for name in side] for side in (expected, names))
    if ours != theirs and sorted(ours) == sorted(theirs):
        raise ConfigError(
            f"{source}: its channels are {', '.join(names)}, but the network was trained on {', '.join(expected)}; "
            f"give the files in that order, for example in a CSV with the columns image_0, image_1, …"
        )
