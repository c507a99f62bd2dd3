"""Classes that a training cannot learn, because no case of its part holds them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from medconv.datamodules.cache import CaseCache
from medconv.io import Case


def warn_of_absent_classes(
    cache: CaseCache, training: Sequence[Case], label_names: Mapping[int, str], root: Path
) -> None:
    """Warn, with the names, where a declared class occurs in no training case.

    Args:
        cache: With an entry for each case.
        training: The cases that train.
        label_names: Value to name.
        root: Of the dataset, for the message.
    """
    missing = set(label_names) - {0}
    for case in training:
        if not missing:
            return
        missing -= set(cache.open(case).locations)
    if missing and training:
        listed = ", ".join(f"{value} {label_names[value]!r}" for value in sorted(missing))
        warnings.warn(
            f"{root}: class {listed} occurs in none of the {len(training)} training cases, so nothing can be learned "
            "of it: choose another fold or seed, add cases, or declare fewer classes",
            stacklevel=3,
        )
