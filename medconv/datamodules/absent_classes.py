"""Classes that a network is asked for and never shown."""

from __future__ import annotations

import warnings

from medconv.datamodules.case_datasets import PatchDataset


def warn_of_absent_classes(training: PatchDataset) -> None:
    """Say which labels no training case holds: the network cannot learn them, and its scores for them mean nothing."""
    names = training.plan.label_names
    present = {label for case in training.cases for label in training.cache.open(case).locations}
    absent = [f"{label} ({names[label]})" for label in sorted(set(names) - present - {0})]
    if absent:
        warnings.warn(
            f"no training case holds label {', '.join(absent)}: the network cannot learn what it never sees; check the "
            "label maps, choose another fold, or leave the label out of the dataset's labels",
            stacklevel=2,
        )
