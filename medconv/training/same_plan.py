"""A run that continues goes on under the plan that it began with."""

from __future__ import annotations

import warnings
from dataclasses import fields

from medconv.errors import ConfigError
from medconv.planning import Plan

_MAY_CHANGE = "patch_size"


def require_same_plan(begun: Plan, given: Plan) -> None:
    """Refuse to continue a run under another plan: its weights were trained on volumes prepared otherwise.

    Args:
        begun: Of the checkpoint.
        given: Of the data, as planned now. Its patch may differ; see ``warn_of_other_patch``.

    Raises:
        ConfigError: With every field that differs.
    """
    lines = [
        f"  - {name}: {getattr(begun, name)} in the run, {getattr(given, name)} now"
        for name in (f.name for f in fields(Plan))
        if name != _MAY_CHANGE and getattr(begun, name) != getattr(given, name)
    ]
    if lines:
        raise ConfigError(
            "expected the plan that the run was begun with, got another:\n"
            + "\n".join(lines)
            + "\ncontinue with the data and settings of the run (its config.yaml and plan.yaml), or begin a new run "
            "from its weights with --init-from"
        )


def warn_of_other_patch(begun: Plan, given: Plan) -> None:
    """Say that a run continues with patches of another size, which changes what it learns from but not its input."""
    if begun.patch_size != given.patch_size:
        warnings.warn(
            f"the run continues with patches of {list(given.patch_size)} voxels, it was begun with "
            f"{list(begun.patch_size)}",
            stacklevel=3,
        )
