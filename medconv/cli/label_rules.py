"""Options of a command that say about labels what the dataset does not, spelt as in the data module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

if TYPE_CHECKING:
    from medconv.io import Dataset

LABEL_RULES = ("regions", "regions_class_order", "ignore_label")
LABEL_EXAMPLES = {
    "regions": "--regions '{whole: [1,2], core: [2]}'",
    "regions_class_order": "--regions-class-order '[1,2]'",
    "ignore_label": "--ignore-label 3",
}


def add_label_options(parser: ArgumentParser) -> None:
    """``--regions``, ``--regions-class-order`` and ``--ignore-label``."""
    add = parser.add_argument
    add("--regions", type=dict[str, list[int]] | None, default=None, help="labels of each region, as for fit")
    add(
        "--regions-class-order", type=list[int] | None, default=None, help="label a region writes, as for fit"
    )
    add("--ignore-label", type=int | None, default=None, help="value of voxels nobody labelled, as for fit")


def with_label_rules(dataset: Dataset, options: Namespace) -> Dataset:
    """The dataset as ``fit`` sees it under the same options.

    Raises:
        ConfigError: They do not fit its labels.
    """
    rules = [getattr(options, name) for name in LABEL_RULES]
    if all(rule is None for rule in rules):
        return dataset
    from medconv.datamodules.redeclare import redeclare  # seconds: torch

    return redeclare(dataset, *rules)
