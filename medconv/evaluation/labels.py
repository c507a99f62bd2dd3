"""What the labels of references are called, from wherever it is written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from medconv.io.declared_labels import DeclaredLabels
from medconv.io.description import declared_labels_in, read_description
from medconv.io.readers import read_label_names


def declared_labels(reference: Path, dataset: DeclaredLabels | None = None) -> DeclaredLabels:
    """What is known about the labels: of the dataset, of a ``dataset.json`` above the file, of the table in the file.

    Args:
        reference: Any one of the references.
        dataset: What the dataset declares; wins where it names labels.

    Returns:
        Names (the background among them where it has one), regions and the ignore label; empty where nothing is
        declared anywhere.

    Raises:
        BadImageError: The reference cannot be read.
    """
    if dataset is not None and dataset.names:
        return dataset
    for folder in (reference.parent, reference.parent.parent):
        description = folder / "dataset.json"
        if description.is_file():
            declared = declared_labels_in(read_description(description), [])
            if declared.names:
                return declared
    return DeclaredLabels(read_label_names(reference))


def declared_label_names(reference: Path, dataset_names: Mapping[int, str]) -> dict[int, str]:
    """The names of ``declared_labels`` without the background.

    Args:
        reference: Any one of the references.
        dataset_names: What the dataset declares; wins where it is not empty.

    Raises:
        BadImageError: The reference cannot be read.
    """
    names = dataset_names or declared_labels(reference).names
    return {label: name for label, name in names.items() if label != 0}
