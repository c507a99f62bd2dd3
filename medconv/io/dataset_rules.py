"""What a user says about a dataset that its description does not, or says otherwise."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from medconv.errors import ConfigError
from medconv.io.cases import Dataset
from medconv.io.declared_labels import check_members, derive_class_order
from medconv.io.group_cases import group_cases

LabelKind = Literal["semantic", "instance"]

_DEFAULT_KIND_OF_OBJECT = "object"


@dataclass(frozen=True)
class DatasetRules:
    """Settings about a dataset; ``None`` leaves what it declares.

    Args:
        regions: See ``medconv.io.DeclaredLabels``.
        regions_class_order: See ``medconv.io.DeclaredLabels``.
        ignore_label: The value of voxels that nobody labelled.
        labels: ``"instance"``: label maps hold one number an object; ``"semantic"``: labels.
        label_names: Of the labels 1, 2, …; for instances the one kind of the objects.
        group_pattern: See ``group_cases``.
    """

    regions: Mapping[str, Sequence[int]] | None = None
    regions_class_order: Sequence[int] | None = None
    ignore_label: int | None = None
    labels: LabelKind | None = None
    label_names: Sequence[str] | None = None
    group_pattern: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """Those that say something, by name."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset under these rules.

        Raises:
            ConfigError: They do not fit its labels, or an order is given without regions.
            DatasetError: As ``group_cases``.
        """
        dataset = self._with_names(dataset)
        if self.regions_class_order is not None and not (self.regions or dataset.regions):
            raise ConfigError("regions_class_order has no effect without regions; give regions too")
        if self.ignore_label is not None:
            names = {value: name for value, name in dataset.label_names.items() if value != self.ignore_label}
            dataset = replace(dataset, label_names=names, ignore_label=self.ignore_label)
        dataset = self._with_regions(dataset)
        dataset.labels  # noqa: B018 - checked when built
        return group_cases(dataset, self.group_pattern)

    def command(self, root: Path, plan_file: Path) -> str:
        """What to type for a plan of a dataset under these rules.

        Args:
            root: The dataset.
            plan_file: To replace.

        Example:
            >>> DatasetRules(ignore_label=3, labels="semantic").command(Path("Task04"), Path("p.yaml"))
            'medconv plan Task04 -o p.yaml --overwrite --ignore-label 3 --labels semantic'
        """
        words = ["medconv", "plan", str(root), "-o", str(plan_file), "--overwrite"]
        for name, value in self.given.items():
            text = value if isinstance(value, str) else json.dumps(value)
            words += ["--" + name.replace("_", "-"), text]
        return shlex.join(words)

    def _with_names(self, dataset: Dataset) -> Dataset:
        if self.labels is not None:
            dataset = replace(dataset, instances=self.labels == "instance")
        names = self.label_names
        if names is None and dataset.instances and not dataset.label_names:
            names = [_DEFAULT_KIND_OF_OBJECT]
        if names is None:
            return dataset
        if isinstance(names, str) or not names:
            raise ConfigError(
                f"label_names: expected a list with the name of each label from 1 on, got {names!r}"
            )
        return replace(dataset, label_names=dict(enumerate(["background", *names])))

    def _with_regions(self, dataset: Dataset) -> Dataset:
        order = None if self.regions_class_order is None else tuple(self.regions_class_order)
        if self.regions is not None:
            check_members(dataset.label_names, self.regions)
            given = {name: tuple(members) for name, members in self.regions.items()}
            chosen = derive_class_order(self.regions) if order is None else order
            return replace(dataset, regions=given, regions_class_order=chosen)
        return dataset if order is None else replace(dataset, regions_class_order=order)
