"""Find the cases of a dataset, whichever of three layouts it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medconv.errors import DatasetError
from medconv.io.cases import Case, Dataset
from medconv.io.csv_table import read_csv
from medconv.io.decathlon import read_decathlon
from medconv.io.description import read_description
from medconv.io.nnunet_raw import read_nnunet_raw
from medconv.io.readers import reader_for

__all__ = ["Case", "Dataset", "discover", "scan_label_names"]


def discover(root: str | Path, tolerated: list[str] | None = None) -> Dataset:
    """Read the description of a dataset and check that every file it names exists.

    Args:
        root: A folder with ``dataset.json`` (Medical Segmentation Decathlon or nnU-Net raw), that file, or a
            CSV with the columns ``image`` (or ``image_0``, ``image_1``, …), ``label`` and maybe ``case_id``
            and ``group``.
        tolerated: Where given, problems are added here and their cases left out, instead of refusing the dataset.

    Raises:
        DatasetError: No dataset, or one with problems; all of them are in the one message.
    """
    root = Path(root)
    if root.suffix.lower() == ".csv":
        return read_csv(root, tolerated)
    description_path = root / "dataset.json" if root.is_dir() else root
    if description_path.name != "dataset.json" or not description_path.is_file():
        raise DatasetError(
            f"{root}: expected a folder with a dataset.json (Medical Segmentation Decathlon or nnU-Net), "
            f"or a CSV file "
            f"with the columns image,label[,group]; found neither"
        )
    description = read_description(description_path)
    read = read_decathlon if "training" in description else read_nnunet_raw
    return read(description_path.parent, description, tolerated)


def scan_label_names(dataset: Dataset) -> dict[int, str]:
    """Names ``label_1``, ``label_2``, … for every value up to the largest in the label maps.

    For datasets that declare no labels. Every label map is read once.
    """
    largest = max(
        (
            int(np.max(reader_for(case.label).read_labels(case.label).data))
            for case in dataset.cases
            if case.label
        ),
        default=0,
    )
    return {0: "background", **{value: f"label_{value}" for value in range(1, largest + 1)}}
