"""The names in a ``dataset.json``, in the two spellings that exist."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medconv.errors import DatasetError


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
    entries = description.get("labels")
    if not isinstance(entries, dict) or not entries:
        problems.append(
            f"dataset.json: expected 'labels' like {{'background': 0, 'tumour': 1}}, got {entries!r}"
        )
        return {}
    if "ignore" in entries or any(isinstance(value, list) for value in entries.values()):
        problems.append(
            "dataset.json: regions and the 'ignore' label of nnU-Net are not supported; declare plain labels"
        )
        return {}
    if not all(isinstance(value, int | str) for value in entries.values()):
        problems.append(f"dataset.json: expected whole numbers in 'labels', got {entries}")
        return {}
    by_value = all(isinstance(name, str) and not name.strip().isdigit() for name in entries.values())
    pairs = entries if by_value else {value: name for name, value in entries.items()}
    if len(pairs) < len(entries):
        problems.append(f"dataset.json: two labels share a value: {entries}")
    names = _by_number(pairs, "labels", problems)
    if names and names.get(0, "").lower() != "background":
        problems.append(f"dataset.json: expected label 0 to be called 'background', got {names.get(0)!r}")
    return names


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
