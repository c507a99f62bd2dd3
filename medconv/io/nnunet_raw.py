"""nnU-Net's raw layout: ``imagesTr/CASE_0000.nii.gz`` a channel, ``labelsTr/CASE.nii.gz``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medconv.io.cases import Case, Dataset, check_cases, is_hidden, resolve_inside
from medconv.io.description import channel_names_in, declared_labels_in
from medconv.io.readers import supported_suffixes

_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def read_nnunet_raw(root: Path, description: dict[str, Any], tolerated: list[str] | None = None) -> Dataset:
    """The training cases of a raw nnU-Net dataset.

    Args:
        root: The folder.
        description: Its ``dataset.json``.
        tolerated: Where given, problems are added here and their cases left out.

    Raises:
        DatasetError: Missing channels or partners, strange names, links out of the folder; all of it listed.
    """
    problems = [] if tolerated is None else tolerated
    channels = channel_names_in(description, problems)
    labels = declared_labels_in(description, problems)
    suffix = description.get("file_ending", ".nii.gz")
    if suffix not in supported_suffixes():
        problems.append(
            f"dataset.json: expected 'file_ending' {', '.join(supported_suffixes())}, got {suffix!r}"
        )
    if "dataset" in description:
        problems.append(
            "dataset.json: the key 'dataset' (files listed elsewhere) is not supported; list them in a CSV"
        )
    images = _images(root, str(suffix), problems)
    masks = {
        path.name.removesuffix(str(suffix)): path for path in _files(root / "labelsTr", str(suffix), problems)
    }
    problems.extend(
        f"case {c}: label without image in imagesTr" for c in sorted(masks.keys() - images.keys())
    )
    problems.extend(
        f"case {c}: image without label in labelsTr" for c in sorted(images.keys() - masks.keys())
    )
    cases = [
        Case(case_id, _channel_files(case_id, images[case_id], channels, problems), masks[case_id], case_id)
        for case_id in sorted(images.keys() & masks.keys())
    ]
    if tolerated is not None:
        cases = [case for case in cases if len(case.images) == len(channels)]
    found = check_cases(root, cases, problems, tolerant=tolerated is not None)
    return Dataset.declaring(root, found, channels, labels)


def _images(root: Path, suffix: str, problems: list[str]) -> dict[str, dict[int, Path]]:
    images: dict[str, dict[int, Path]] = {}
    for path in _files(root / "imagesTr", suffix, problems):
        match = _CHANNEL.fullmatch(path.name.removesuffix(suffix))
        if match is None:
            problems.append(f"imagesTr/{path.name}: expected a name like CASE_0000{suffix}")
        else:
            images.setdefault(match["case"], {})[int(match["channel"])] = path
    return images


def _channel_files(
    case_id: str, found: dict[int, Path], channels: tuple[str, ...], problems: list[str]
) -> tuple[Path, ...]:
    if channels and sorted(found) != list(range(len(channels))):
        problems.append(
            f"case {case_id}: expected the channels {list(range(len(channels)))} ({', '.join(channels)}), "
            f"got {sorted(found)}"
        )
    return tuple(found[channel] for channel in sorted(found))


def _files(folder: Path, suffix: str, problems: list[str]) -> list[Path]:
    if not folder.is_dir():
        problems.append(f"no folder {folder.name}")
        return []
    files = []
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if not path.name.endswith(suffix):
            problems.append(f"{folder.name}/{path.name}: expected a name ending in {suffix}")
        elif inside := resolve_inside(folder.parent, f"{folder.name}/{path.name}", folder.name, problems):
            files.append(inside)
    return files
