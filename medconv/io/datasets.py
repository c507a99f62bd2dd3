"""Find the cases of a dataset, whichever of five layouts it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from medconv.errors import NotADatasetError
from medconv.io.cases import Case, Dataset
from medconv.io.csv_table import read_csv
from medconv.io.decathlon import read_decathlon
from medconv.io.description import read_description
from medconv.io.image_folders import is_image_folder, read_image_folders
from medconv.io.layout import ImageLayout
from medconv.io.name_channels import name_channels
from medconv.io.nnunet_raw import read_nnunet_raw
from medconv.io.object_folders import is_object_folders, read_object_folders
from medconv.io.readers import reader_for

__all__ = ["Case", "Dataset", "discover", "scan_label_names"]

_EXPECTED = (
    "expected a dataset: a folder with a dataset.json (Medical Segmentation Decathlon or nnU-Net), one with the "
    "folders images and labels, or a CSV file with the columns image,label[,group]"
)


def discover(
    root: str | Path, tolerated: list[str] | None = None, layout: ImageLayout | None = None
) -> Dataset:
    """Read the description of a dataset and check that every file it names exists.

    Args:
        root: A folder with ``dataset.json`` (Medical Segmentation Decathlon or nnU-Net raw), that file, a folder with
            the folders ``images`` and ``labels`` (see ``read_image_folders``), one with a folder an image (see
            ``read_object_folders``), or a CSV with the columns ``image`` (or
            ``image_0``, ``image_1``, …), ``label`` and maybe ``case_id`` and ``group``.
        tolerated: Where given, problems are added here and their cases left out, instead of refusing the dataset.
        layout: What the user states about axes, channels and pixel size of microscopy images.

    Raises:
        NotADatasetError: There is no such folder or file, or it is no dataset.
        DatasetError: A dataset with problems; all of them are in the one message.
    """
    dataset = _read(Path(root), tolerated)
    if layout is not None:
        dataset = replace(dataset, cases=tuple(replace(case, layout=layout) for case in dataset.cases))
    return name_channels(dataset)


def scan_label_names(dataset: Dataset) -> dict[int, str]:
    """Names ``label_1``, ``label_2``, … for every value up to the largest in the label maps.

    For datasets that declare no labels. Every label map is read once.
    """
    largest = max(
        (
            int(np.max(reader_for(case.label, case.layout.of_labels()).read_labels(case.label).data))
            for case in dataset.cases
            if case.label
        ),
        default=0,
    )
    return {0: "background", **{value: f"label_{value}" for value in range(1, largest + 1)}}


def _read(root: Path, tolerated: list[str] | None) -> Dataset:
    if not root.exists():
        start = "" if root.is_absolute() else f", relative paths start at {Path.cwd()}"
        raise NotADatasetError(f"no file or folder {root}; {_EXPECTED}{start}")
    if root.suffix.lower() == ".csv":
        return read_csv(root, tolerated)
    description_path = root / "dataset.json" if root.is_dir() else root
    is_described = description_path.name == "dataset.json" and description_path.is_file()
    if not is_described and is_image_folder(root):
        return read_image_folders(root, None, tolerated)
    if not is_described and root.is_dir() and is_object_folders(root):
        return read_object_folders(root, tolerated)
    if not is_described:
        raise NotADatasetError(f"{root}: {_EXPECTED}; found none of them")
    description, folder = read_description(description_path), description_path.parent
    if "training" in description:
        return read_decathlon(folder, description, tolerated)
    if is_image_folder(folder):
        return read_image_folders(folder, description, tolerated)
    return read_nnunet_raw(folder, description, tolerated)
