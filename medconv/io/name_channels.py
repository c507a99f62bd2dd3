"""Names of channels that nobody named, from what the files are."""

from __future__ import annotations

from dataclasses import replace

from medconv.errors import MedconvError
from medconv.io.cases import Dataset
from medconv.io.readers import reader_for

UNNAMED = ((), ("image",))
"""Channel names of a dataset that declares none: of two folders, and of a CSV with one column of images."""

_RGB = ("red", "green", "blue")


def name_channels(dataset: Dataset) -> Dataset:
    """The dataset with channels called ``microscopy``, or ``red``, ``green`` and ``blue``, as its files have them.

    Args:
        dataset: As described; one that declares its channels is returned as it is.

    Cost:
        One header is read.
    """
    if dataset.channel_names not in UNNAMED or (dataset.channel_names and not dataset.is_microscopy):
        return dataset
    word = "microscopy" if dataset.is_microscopy else "image"
    count = _count(dataset)
    if count == 1:
        return replace(dataset, channel_names=(word,))
    if count == len(_RGB) and dataset.is_microscopy:
        return replace(dataset, channel_names=_RGB)
    return replace(dataset, channel_names=tuple(f"{word} {number}" for number in range(count)))


def _count(dataset: Dataset) -> int:
    """Channels of the first case that can be read; the others are compared with it where cases are checked."""
    for case in dataset.cases:
        try:
            return sum(reader_for(path, case.layout).read_header(path).channels for path in case.images)
        except MedconvError:
            continue
    return 1
