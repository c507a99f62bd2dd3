"""The layout of the Medical Segmentation Decathlon: ``dataset.json`` lists every pair of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medconv.io.cases import Case, Dataset, check_cases, resolve_inside
from medconv.io.description import channel_names_in, declared_labels_in
from medconv.io.readers import stem_of


def read_decathlon(root: Path, description: dict[str, Any], tolerated: list[str] | None = None) -> Dataset:
    """The training cases of a Decathlon dataset; test images, which have no labels, are not part of it.

    Args:
        root: The folder.
        description: Its ``dataset.json``.
        tolerated: Where given, problems are added here and their cases left out.

    Raises:
        DatasetError: Anything missing, doubled, or outside the folder; all of it listed.
    """
    problems = [] if tolerated is None else tolerated
    channels = channel_names_in(description, problems)
    labels = declared_labels_in(description, problems)
    entries = description["training"]
    if not isinstance(entries, list):
        problems.append(f"dataset.json: expected a list of pairs in 'training', got {type(entries).__name__}")
        entries = []
    cases = [case for number, entry in enumerate(entries) if (case := _case(root, entry, number, problems))]
    found = check_cases(root, cases, problems, tolerant=tolerated is not None)
    return Dataset.declaring(root, found, channels, labels)


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
