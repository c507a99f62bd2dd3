"""What the labels of references are called, from wherever it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medconv.io import read_header
from medconv.io.description import label_names_in, read_description
from medconv.io.nifti import label_names_in_header


def declared_label_names(reference: Path, dataset_names: Mapping[int, str]) -> dict[int, str]:
    """The names of labels: of the dataset, of a ``dataset.json`` above the file, of the table in the file.

    Args:
        reference: Any one of the references.
        dataset_names: What the dataset declares; wins where it is not empty.

    Returns:
        Label to name without background; empty where nothing is declared anywhere.

    Raises:
        BadImageError: The reference cannot be read.
    """
    names = dict(dataset_names)
    for folder in () if names else (reference.parent, reference.parent.parent):
        description = folder / "dataset.json"
        if description.is_file() and not names:
            names = label_names_in(read_description(description), [])
    names = names or label_names_in_header(read_header(reference).raw)
    return {label: name for label, name in names.items() if label != 0}
