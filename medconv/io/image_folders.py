"""Two folders, ``images`` and ``labels``, with files of the same names: how microscopes and drawing tools leave it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medconv.io.cases import Case, Dataset, check_cases, is_hidden
from medconv.io.declared_labels import DeclaredLabels
from medconv.io.description import channel_names_in, declared_labels_in
from medconv.io.readers import suffix_of, supported_suffixes

IMAGES, LABELS = "images", "labels"

_NOT_IN_A_CASE_ID = re.compile(r"[^A-Za-z0-9._-]+")


def is_image_folder(root: Path) -> bool:
    """Whether a folder has this layout."""
    return (root / IMAGES).is_dir() and (root / LABELS).is_dir()


def read_image_folders(
    root: Path, description: Mapping[str, Any] | None = None, tolerated: list[str] | None = None
) -> Dataset:
    """The pairs of ``images/NAME.*`` and ``labels/NAME.*``; folders below them may be named alike too.

    A case is called after its file, with the folders in front of it and ``_`` for what a case id cannot have. Files of
    one folder below ``images`` are one group; those in ``images`` itself are a group each.

    Args:
        root: The folder of the two.
        description: Its ``dataset.json`` with ``labels``, maybe ``channel_names`` and ``"instances": true``. Without
            one, neither labels nor channels have names.
        tolerated: Where given, problems are added here and their cases left out.

    Raises:
        DatasetError: Images without labels or labels without images, two files of one name, strange types; all listed.
    """
    problems = [] if tolerated is None else tolerated
    images, labels = (_files(root / folder, problems) for folder in (IMAGES, LABELS))
    for name in sorted(images.keys() ^ labels.keys()):
        has, lacks = (IMAGES, LABELS) if name in images else (LABELS, IMAGES)
        problems.append(f"{has}/{name}: no {lacks}/{name}.*; files of one case have the same name")
    cases = [
        Case(case_id := _case_id(name), (images[name],), labels[name], _folder_of(name) or case_id)
        for name in sorted(images.keys() & labels.keys())
    ]
    declared = declared_labels_in(description, problems) if description else DeclaredLabels()
    is_named = description is not None and not {"channel_names", "modality"}.isdisjoint(description)
    channels = channel_names_in(description or {}, problems) if is_named else ()
    found = check_cases(root, cases, problems, tolerant=tolerated is not None)
    return Dataset.declaring(root, found, channels, declared)


def _files(folder: Path, problems: list[str]) -> dict[str, Path]:
    """Files by their path below the folder, without the suffix."""
    found: dict[str, Path] = {}
    for path in _walk(folder):
        suffix = suffix_of(path)
        if suffix is None:
            kinds = ", ".join(supported_suffixes())
            problems.append(f"{path.relative_to(folder.parent)}: expected a file ending in {kinds}")
            continue
        name = path.relative_to(folder).as_posix().removesuffix(suffix)
        other = found.setdefault(name, path)
        if other is not path:
            problems.append(f"{folder.name}/{name}: there are {other.name} and {path.name}; keep one")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Files, and folders that are images by their name."""
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            continue
        if path.is_dir() and suffix_of(path) is None:
            yield from _walk(path)
        else:
            yield path


def _case_id(name: str) -> str:
    return _NOT_IN_A_CASE_ID.sub("_", name)


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]
