"""Which cases a robustness study looks at: those with labels, and of those the ones no network was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medconv.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from medconv.inference import Checkpoint
    from medconv.io import Case, ImageLayout
    from medconv.planning import Plan

_SHOWN = 5


@dataclass(frozen=True)
class Chosen:
    """The cases, and what was decided about others.

    Args:
        cases: To examine.
        remarks: What is left out, and why.
        problems: Cases that should be examined and cannot be, by name.
    """

    cases: tuple[Case, ...]
    remarks: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)


def choose_cases(
    data: str,
    labels: str | None,
    plan: Plan,
    checkpoints: Sequence[Checkpoint],
    *,
    layout: ImageLayout | None = None,
    every: bool = False,
    limit: int | None = None,
) -> Chosen:
    """The labelled cases of a dataset, or of a folder of images and one of label maps.

    Cases that a checkpoint was trained on are left out: ``fit`` keeps the division beside it
    (``splits_final.json``), which counts if all of its cases are in the dataset.

    Args:
        data: A dataset, or a folder of images with ``labels``.
        labels: A folder of label maps.
        plan: Of the networks.
        checkpoints: The networks.
        layout: What the user states about microscopy images.
        every: Examine cases of the training too.
        limit: At most so many.

    Raises:
        ConfigError: Names that lead to nothing, other labels or channels than the networks', or no case at all.
        DatasetError: The dataset is described wrongly, or has no labels.
    """
    cases, problems = (
        _in_folders(data, labels, plan, layout) if labels else (_in_dataset(data, plan, layout), {})
    )
    remarks = []
    if unlabelled := [case.case_id for case in cases if case.label is None]:
        remarks.append(f"{len(unlabelled)} case(s) without a label: {_some(unlabelled)}")
    cases = [case for case in cases if case.label is not None]
    if not cases and not problems:
        raise DatasetError(f"{data}: expected cases with label maps to measure by, got none")
    if not every and (seen := _trained_on(checkpoints, {case.case_id for case in cases})):
        remarks.append(
            f"{len(seen)} of {len(cases)} cases trained a checkpoint and are left out; --all-cases examines them too"
        )
        cases = [case for case in cases if case.case_id not in seen]
        if not cases:
            raise ConfigError(
                f"{data}: every case trained a checkpoint; give cases that no network has seen, or --all-cases"
            )
    return Chosen(tuple(cases[:limit]), tuple(remarks), problems)


def _in_dataset(data: str, plan: Plan, layout: ImageLayout | None) -> list[Case]:
    from medconv.inference.channel_order import refuse_other_order
    from medconv.io import discover

    dataset = discover(data, layout=layout if layout is not None and layout.is_stated else None)
    refuse_other_order(dataset.channel_names, plan.channel_names, Path(data))
    declared, expected = dataset.labels, plan.declared
    if declared.names and declared.instances != expected.instances:
        kinds = ["single objects" if each.instances else "labels" for each in (expected, declared)]
        raise ConfigError(f"{data}: the networks tell {kinds[0]}, the maps of the dataset hold {kinds[1]}")
    if declared.names and dict(declared.names) != dict(expected.names):
        raise ConfigError(
            f"{data}: expected the labels {dict(expected.names)} of the networks, the dataset declares "
            f"{dict(declared.names)}"
        )
    return list(dataset.cases)


def _in_folders(
    images: str, labels: str, plan: Plan, layout: ImageLayout | None
) -> tuple[list[Case], dict[str, str]]:
    from medconv.inference import collect_inputs
    from medconv.io import Case

    inputs = {
        case.case_id: case for case in collect_inputs([images], plan.in_channels, plan.channel_names, layout)
    }
    maps = {case.case_id: case.paths[0] for case in collect_inputs([labels])}
    if not inputs.keys() & maps.keys():
        raise ConfigError(
            f"expected images and label maps of the same names, {images} has {_some(sorted(inputs))}, {labels} has "
            f"{_some(sorted(maps))}"
        )
    problems = {name: case.problem for name, case in inputs.items() if case.problem and name in maps}
    problems |= dict.fromkeys(maps.keys() - inputs.keys(), "no image of this name")
    return [
        Case(name, case.paths, maps.get(name), name, case.layout)
        for name, case in sorted(inputs.items())
        if name not in problems
    ], problems


def _trained_on(checkpoints: Sequence[Checkpoint], case_ids: set[str]) -> set[str]:
    """Those of the cases that a checkpoint was trained on, as far as the folder of its run says so."""
    seen: set[str] = set()
    for checkpoint in checkpoints:
        path = checkpoint.path.parent / "splits_final.json"
        if not path.is_file():
            continue
        from medconv.datamodules.splits_file import read_splits  # seconds: Lightning

        folds = read_splits(path)
        data = checkpoint.config.get("data") or {}
        fold = (data.get("init_args") or {}).get("fold", 0)
        if not 0 <= fold < len(folds):
            continue
        train, val = (set(folds[fold][side]) for side in ("train", "val"))
        if train | val <= case_ids:
            seen |= train
    return seen


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
