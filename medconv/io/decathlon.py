"""The layout of the Medical Segmentation Decathlon: ``dataset.json`` lists every pair of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medconv.io.cases import Case, Dataset, check_cases, resolve_inside
from medconv.io.description import channel_names_in, declared_labels_in
from medconv.io.readers import stem_of


def read_decathlon(root: Path, description: dict[str, Any]) -> Dataset:
    """The training cases of a Decathlon dataset; test images, which have no labels, are not part of it.

    Raises:
        DatasetError: Anything missing, doubled, or outside the folder; all of it listed.
    """
    problems: list[str] = []
    channels = channel_names_in(description, problems)
    labels = declared_labels_in(description, problems)
    entries = description["training"]
    if not isinstance(entries, list):
        problems.append(f"dataset.json: expected a list of pairs in 'training', got {type(entries).__name__}")
        entries = []
    cases = [case for number, entry in enumerate(entries) if (case := _case(root, entry, number, problems))]
    return Dataset.declaring(root, check_cases(root, cases, problems), channels, labels)


def _case(root: Path, entry: object, number: int, problems: list[str]) -> Case | None:
    where = f"training[{number}]"
    if not isinstance(entry, dict) or not {"image", "label"} <= set(entry):
        problems.append(f"{where}: expected {{'image': path, 'label': path}}, got {entry!r}")
        return None
    image = resolve_inside(root, entry["image"], f"{where} image", problems)
    label = resolve_inside(root, entry["label"], f"{where} label", problems)
    if image is None or label is None:
        return None
    case_id = stem_of(image)
    return Case(case_id, (image,), label, case_id)
