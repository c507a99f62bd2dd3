"""Classes that a network is asked for and never shown."""

from __future__ import annotations

import warnings

from medconv.datamodules.case_datasets import PatchDataset


def warn_of_absent_classes(training: PatchDataset) -> None:
    """Say which labels no training case holds: the network cannot learn them, and its scores for them mean nothing."""
    names = training.plan.label_names
    missing = set(names) - {0}
    for case in training.cases:
        if not missing:
            return
        missing -= set(training.cache.open(case).locations)
    if missing and training.cases:
        listed = ", ".join(f"{label} ({names[label]})" for label in sorted(missing))
        warnings.warn(
            f"none of the {len(training.cases)} training cases holds label {listed}: the network cannot learn what it "
            "never sees; check the label maps, choose another fold or seed, or leave the label out of the dataset's "
            "labels",
            stacklevel=3,
        )
