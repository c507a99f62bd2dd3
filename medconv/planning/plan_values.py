"""Values of a plan that come as lists and mappings from a file, checked one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medconv.errors import ConfigError
from medconv.planning.bounds import MAX_CLASSES, check_count, check_integer, check_name


def to_tuple(name: str, value: Any) -> tuple[Any, ...]:
    """A list as a tuple.

    Raises:
        ConfigError: It is no list.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigError(f"{name}: expected a list, got {value!r}")
    return tuple(value)


def integer_keys(names: Any) -> Any:
    """JSON knows only text as keys."""
    if not isinstance(names, Mapping):
        return names
    return {int(k) if isinstance(k, str) and k.isdecimal() else k: name for k, name in names.items()}


def check_label_names(names: Any) -> dict[int, str]:
    """Names of labels in the order of their values.

    Raises:
        ConfigError: Values with gaps, or names that are none.
    """
    if not isinstance(names, Mapping):
        raise ConfigError(f"label_names: expected {{0: background, 1: …}}, got {names!r}")
    check_count("label_names", names, 2, MAX_CLASSES)
    for value, name in names.items():
        check_integer("label_names", value, 0, MAX_CLASSES - 1)
        check_name("label_names", name)
    if sorted(names) != list(range(len(names))):
        raise ConfigError(
            f"label_names: expected the values 0 to {len(names) - 1}, got {sorted(names)}; renumber labels"
        )
    return {int(value): names[value] for value in sorted(names)}


def check_regions(regions: Any) -> dict[str, tuple[int, ...]]:
    """Labels of each region.

    Raises:
        ConfigError: Names that are none, or members that are no labels.
    """
    if not isinstance(regions, Mapping):
        raise ConfigError(f"regions: expected {{name: [labels]}}, got {regions!r}")
    check_count("regions", regions, 0, MAX_CLASSES)
    for name, members in regions.items():
        check_name("regions", name)
        for label in to_tuple(f"regions: {name}", members):
            check_integer(f"regions: {name}", label, 1, MAX_CLASSES)
    return {name: tuple(members) for name, members in regions.items()}
