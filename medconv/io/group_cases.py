"""Groups of cases that are not independent, told by their paths."""

from __future__ import annotations

import re
from dataclasses import replace

from medconv.errors import ConfigError, DatasetError
from medconv.io.cases import Case, Dataset
from medconv.io.readers import stem_of

_SHOWN = 5


def group_cases(dataset: Dataset, pattern: str | None) -> Dataset:
    r"""The dataset with cases grouped by what a regular expression finds in their paths.

    Two images of one animal, plate or stack are alike; where one trains and the other judges, the figures are too
    good. What the pattern's parentheses hold (without any, all that it finds) is the name of the group.

    Args:
        dataset: As discovered.
        pattern: Searched in the path of the first image below the dataset's folder, with ``/`` and without the suffix,
            such as ``images/slice_05``: ``"slice_(\d)"`` groups slices by tens. ``None`` leaves the groups as they are.

    Raises:
        ConfigError: No regular expression.
        DatasetError: Cases in whose paths it finds nothing.
    """
    if pattern is None:
        return dataset
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"group_pattern: expected a regular expression, got {pattern!r} ({error}); correct it"
        ) from error
    groups = {case.case_id: compiled.search(_path_of(case, dataset)) for case in dataset.cases}
    missed = [_path_of(case, dataset) for case in dataset.cases if groups[case.case_id] is None]
    if missed:
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        raise DatasetError(
            f"{dataset.root}: group_pattern {pattern!r} finds nothing in {', '.join(missed[:_SHOWN])}{more}; every "
            "case needs a group: change the pattern"
        )
    named = {case_id: _name_of(match) for case_id, match in groups.items() if match}
    return replace(dataset, cases=tuple(replace(case, group=named[case.case_id]) for case in dataset.cases))


def _name_of(match: re.Match[str]) -> str:
    return "-".join(part or "" for part in match.groups()) or match.group(0)


def _path_of(case: Case, dataset: Dataset) -> str:
    path = case.images[0]
    root = dataset.root.resolve()
    whole = path.resolve()
    folder = whole.parent.relative_to(root).as_posix() + "/" if whole.is_relative_to(root) else ""
    return f"{'' if folder == './' else folder}{stem_of(path)}"
