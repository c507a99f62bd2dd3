"""Options of a command that say about a dataset what it does not, spelt as in the data modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from medconv.io import Dataset

DATASET_RULES = (
    "regions",
    "regions_class_order",
    "ignore_label",
    "labels",
    "label_names",
    "group_pattern",
)
"""The fields of ``medconv.io.dataset_rules.DatasetRules``, which is imported when it is used."""
RULE_EXAMPLES = {
    "regions": "--regions '{whole: [1,2], core: [2]}'",
    "regions_class_order": "--regions-class-order '[1,2]'",
    "ignore_label": "--ignore-label 3",
    "labels": "--labels instance",
    "label_names": "--label-names '[nucleus]'",
    "group_pattern": "--group-pattern 'slice_(.)'",
}


def add_rule_options(parser: ArgumentParser) -> None:
    """``--regions``, ``--labels``, ``--label-names``, ``--group-pattern`` and so on."""
    add = parser.add_argument
    add("--regions", type=dict[str, list[int]] | None, default=None, help="labels of each region, as for fit")
    add(
        "--regions-class-order", type=list[int] | None, default=None, help="label a region writes, as for fit"
    )
    add("--ignore-label", type=int | None, default=None, help="value of voxels nobody labelled, as for fit")
    add(
        "--labels",
        type=Literal["semantic", "instance"] | None,
        default=None,
        help="instance: label maps hold one number an object, as for fit",
    )
    add(
        "--label-names",
        type=list[str] | None,
        default=None,
        help="of the labels from 1 on, or of the objects",
    )
    add("--group-pattern", type=str | None, default=None, help="what cases of one group share in their paths")


def with_rules(dataset: Dataset, options: Namespace) -> Dataset:
    """The dataset as ``fit`` sees it under the same options.

    Raises:
        ConfigError: They do not fit its labels.
        DatasetError: The group pattern does not fit its files.
    """
    from medconv.io.dataset_rules import DatasetRules

    return DatasetRules(*(getattr(options, name) for name in DATASET_RULES)).apply(dataset)
