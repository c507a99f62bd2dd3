"""Settings of a run that say about labels what the dataset does not, or says otherwise."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from medconv.errors import ConfigError
from medconv.io import Dataset
from medconv.io.declared_labels import check_members, derive_class_order


def redeclare(
    dataset: Dataset,
    regions: Mapping[str, Sequence[int]] | None,
    regions_class_order: Sequence[int] | None,
    ignore_label: int | None,
) -> Dataset:
    """The dataset with the regions and the ignore label of a configuration; ``None`` leaves what it declares.

    Raises:
        ConfigError: They do not fit its labels, or an order is given without regions.
    """
    if regions_class_order is not None and not (regions or dataset.regions):
        raise ConfigError("regions_class_order has no effect without regions; give regions too")
    if ignore_label is not None:
        names = {value: name for value, name in dataset.label_names.items() if value != ignore_label}
        dataset = replace(dataset, label_names=names, ignore_label=ignore_label)
    if regions is not None:
        check_members(dataset.label_names, regions)
        order = derive_class_order(regions) if regions_class_order is None else tuple(regions_class_order)
        given = {name: tuple(members) for name, members in regions.items()}
        dataset = replace(dataset, regions=given, regions_class_order=order)
    elif regions_class_order is not None:
        dataset = replace(dataset, regions_class_order=tuple(regions_class_order))
    dataset.labels  # noqa: B018 - checked when built
    return dataset


def replanning_command(root: Path, plan_file: Path, rules: Mapping[str, object]) -> str:
    """What to type for a plan of a dataset under the label rules of a configuration.

    Args:
        root: The dataset.
        plan_file: To replace.
        rules: Of :func:`redeclare`, by name; ``None`` is left out.

    Example:
        >>> replanning_command(Path("Task04"), Path("p.yaml"), {"regions": None, "ignore_label": 3})
        'medconv plan Task04 -o p.yaml --overwrite --ignore-label 3'
    """
    words = ["medconv", "plan", str(root), "-o", str(plan_file), "--overwrite"]
    for name, rule in rules.items():
        if rule is not None:
            words += ["--" + name.replace("_", "-"), json.dumps(rule)]
    return shlex.join(words)
