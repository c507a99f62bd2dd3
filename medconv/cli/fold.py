"""``--fold K``: one word for what a cross-validation asks of the data."""

from __future__ import annotations

from typing import Any

from medconv.errors import ConfigError

NUM_FOLDS = 5
"""Where the configuration does not say how many."""


def choose_fold(data: dict[str, Any], fold: int | None) -> None:
    """Set the fold in the resolved settings of a data module, and five folds where it divides in no other way.

    Args:
        data: ``{"class_path": …, "init_args": …}``, changed.
        fold: From 0; ``None`` changes nothing.

    Raises:
        ConfigError: A negative fold, or data that know no folds.
    """
    if fold is None:
        return
    settings = data.setdefault("init_args", {})
    if "fold" not in settings or "num_folds" not in settings:
        raise ConfigError(f"--fold: {data.get('class_path')} has no folds; leave it out")
    if fold < 0:
        raise ConfigError(f"--fold: expected a fold from 0, got {fold}")
    settings["fold"] = fold
    if settings["num_folds"] is None and not settings.get("splits"):
        settings["num_folds"] = NUM_FOLDS
