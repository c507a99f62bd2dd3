"""Splits as nnU-Net keeps them: ``splits_final.json``, a list with the training and validation cases of each fold."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from medconv.datamodules.splits import Split
from medconv.errors import ConfigError
from medconv.io import write_text

SPLITS_FILE = "splits_final.json"

_SHOWN = 5


def read_split(path: str | Path, fold: int, case_ids: Sequence[str]) -> Split:
    """One fold of a split file.

    Args:
        path: The file.
        fold: From 0.
        case_ids: The cases of the dataset; those that the fold does not name neither train nor validate.

    Raises:
        ConfigError: No such file or fold, another content, cases that the dataset lacks, or a case on both sides.
    """
    folds = read_splits(path)
    if not 0 <= fold < len(folds):
        raise ConfigError(f"{path}: expected a fold from 0 to {len(folds) - 1}, got fold {fold}")
    place = {case_id: position for position, case_id in enumerate(case_ids)}
    train, val = folds[fold]["train"], folds[fold]["val"]
    unknown = sorted({*train, *val} - set(place))
    if unknown:
        raise ConfigError(
            f"{path}: fold {fold} names {len(unknown)} case(s) that the dataset lacks: {_some(unknown)}; "
            "give the split file of this dataset"
        )
    both = sorted(set(train) & set(val))
    if both:
        raise ConfigError(f"{path}: fold {fold} has cases that train and validate: {_some(both)}; correct it")
    return Split(tuple(sorted(place[c] for c in train)), tuple(sorted(place[c] for c in val)))


def read_splits(path: str | Path) -> list[dict[str, list[str]]]:
    """All folds of a split file.

    Raises:
        ConfigError: It cannot be read, or is no list of ``{"train": [cases], "val": [cases]}`` with cases in each.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"no split file {path}; give nnU-Net's {SPLITS_FILE}, or set num_folds to divide the cases here"
        )
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected JSON, cannot read it ({error}); correct or restore it"
        ) from error
    if not isinstance(folds, list) or not folds or not all(map(_is_fold, folds)):
        raise ConfigError(f'{path}: expected a list of {{"train": [cases], "val": [cases]}}, each with cases')
    return folds


def write_splits(path: str | Path, splits: Sequence[Split], case_ids: Sequence[str]) -> None:
    """Write folds so that nnU-Net can train on the same; whole or not at all.

    Args:
        path: The file.
        splits: One a fold.
        case_ids: What the positions of the splits mean.
    """
    folds = [
        {"train": [case_ids[i] for i in split.train], "val": [case_ids[i] for i in split.validation]}
        for split in splits
    ]
    write_text(path, json.dumps(folds, indent=4) + "\n")


def _is_fold(fold: object) -> bool:
    if not isinstance(fold, Mapping) or not {"train", "val"} <= set(fold):
        return False
    sides = (fold["train"], fold["val"])
    return all(isinstance(s, list) and s and all(isinstance(c, str) for c in s) for s in sides)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
