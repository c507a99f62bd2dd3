"""What the labels of references are called, from wherever it is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from medconv.errors import MedconvError
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.description import declared_labels_in, read_description
from medconv.io.label_files import read_label_files
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


def names_beside(prediction: Path) -> tuple[dict[int, str], Path | None]:
    """What a prediction calls its labels: by the table in the file, else by the label files in its folder.

    They name what is measured and do not choose it: a network must not decide by what it is judged.

    Args:
        prediction: A mask; one that cannot be read has no names of its own.

    Returns:
        Label value to name, without the background and without names that two labels share, and the file they stand
        in; nothing and ``None`` where there are none.
    """
    try:
        names, file = read_label_names(prediction), prediction
    except MedconvError:  # told with its case
        names = {}
    if not any(names):
        names, beside = read_label_files(prediction.parent)
        file = beside or prediction
    times = Counter(names.values())
    kept = {label: name for label, name in names.items() if label and name and times[name] == 1}
    return kept, file if kept else None
