"""The names in a ``dataset.json``, in the two spellings that exist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medconv.errors import ConfigError, DatasetError
from medconv.io.declared_labels import IGNORE, DeclaredLabels, derive_class_order


def read_description(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DatasetError: Not readable, not JSON, or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path}: expected a JSON file, cannot read it ({error}); correct or restore it"
        ) from error
    if not isinstance(content, dict):
        raise DatasetError(
            f"{path}: expected a JSON object with 'labels' and so on, got a {type(content).__name__}"
        )
    return content


def channel_names_in(description: Mapping[str, Any], problems: list[str]) -> tuple[str, ...]:
    """Channel names in order, from nnU-Net's ``channel_names`` or the Decathlon's ``modality``."""
    key = "channel_names" if "channel_names" in description else "modality"
    entries = description.get(key)
    if not isinstance(entries, dict) or not entries:
        problems.append(f"dataset.json: expected {key!r} like {{'0': 'MRI'}}, got {entries!r}")
        return ()
    numbered = _by_number(entries, key, problems)
    return tuple(numbered[number] for number in sorted(numbered))


def label_names_in(description: Mapping[str, Any], problems: list[str]) -> dict[int, str]:
    """Label value to name, from ``{"0": "background"}`` (Decathlon) or ``{"background": 0}`` (nnU-Net)."""
    return dict(declared_labels_in(description, problems).names)


def declared_labels_in(description: Mapping[str, Any], problems: list[str]) -> DeclaredLabels:
    """Labels, regions, the ignore label, and ``"instances": true`` for maps of numbered objects.

    In nnU-Net's spelling a list of labels is a region.
    """
    entries = description.get("labels")
    if not isinstance(entries, dict) or not entries:
        problems.append(
            f"dataset.json: expected 'labels' like {{'background': 0, 'tumour': 1}}, got {entries!r}"
        )
        return DeclaredLabels()
    entries = dict(entries)
    ignore = entries.pop(IGNORE) if isinstance(entries.get(IGNORE), int) else None
    instances = description.get("instances", False)
    if not isinstance(instances, bool):
        problems.append(f"dataset.json: expected true or false for 'instances', got {instances!r}")
        return DeclaredLabels()
    try:
        if instances and any(isinstance(value, list) for value in entries.values()):
            raise ConfigError("instances: expected objects of one kind, got regions")
        if any(isinstance(value, list) for value in entries.values()):
            return _with_regions(entries, description.get("regions_class_order"), ignore, problems)
        names = _plain_names(entries, problems)
        return DeclaredLabels(names, ignore_label=ignore, instances=instances and bool(names))
    except ConfigError as error:
        problems.append(f"dataset.json: {error}")
        return DeclaredLabels()


def _plain_names(entries: Mapping[str, Any], problems: list[str]) -> dict[int, str]:
    if not all(isinstance(value, int | str) for value in entries.values()):
        problems.append(f"dataset.json: expected whole numbers in 'labels', got {dict(entries)}")
        return {}
    by_value = all(isinstance(name, str) and not name.strip().isdigit() for name in entries.values())
    pairs = entries if by_value else {value: name for name, value in entries.items()}
    if len(pairs) < len(entries):
        problems.append(f"dataset.json: two labels share a value: {dict(entries)}")
    names = _by_number(pairs, "labels", problems)
    if names and names.get(0, "").lower() != "background":
        problems.append(f"dataset.json: expected label 0 to be called 'background', got {names.get(0)!r}")
    return names


def _with_regions(
    entries: Mapping[str, Any], order: Any, ignore: int | None, problems: list[str]
) -> DeclaredLabels:
    regions = {
        name: tuple(members if isinstance(members, list) else [members])
        for name, members in entries.items()
        if members not in (0, [0])
    }
    labels = sorted({label for members in regions.values() for label in members}, key=str)
    if not all(type(label) is int for label in labels):
        problems.append(f"dataset.json: expected whole numbers in 'labels', got {dict(entries)}")
        return DeclaredLabels()
    # regions have the names; a label may belong to several
    pairs = {0: "background", **{label: f"label_{label}" for label in labels}}
    names = _by_number(pairs, "labels", problems)
    if order is None:
        order = derive_class_order(regions)
    if not isinstance(order, list | tuple):
        problems.append(f"dataset.json: expected a list of labels in 'regions_class_order', got {order!r}")
        return DeclaredLabels()
    return DeclaredLabels(names, regions, tuple(order), ignore)


def _by_number(pairs: Mapping[Any, Any], key: str, problems: list[str]) -> dict[int, str]:
    try:
        names = {int(str(number)): str(name) for number, name in pairs.items()}
    except ValueError:
        problems.append(f"dataset.json: expected whole numbers in {key!r}, got {dict(pairs)}")
        return {}
    if sorted(names) != list(range(len(pairs))):
        problems.append(
            f"dataset.json: expected {key!r} numbered 0 to {len(pairs) - 1} without gaps, got {sorted(names)}"
        )
    return dict(sorted(names.items()))
