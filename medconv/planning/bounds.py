"""Bounds of what a plan may ask for: a file that somebody sends must not be able to fill the memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from medconv.errors import ConfigError

MAX_CHANNELS = 64
MAX_CLASSES = 1024
MAX_PATCH_EDGE = 4096
MAX_PATCH_VOXELS = 2**28
MIN_SPACING_MM = 1e-8  # a tenth of an ångström
MAX_SPACING_MM = 1e3
_MAX_NAME = 128


def check_integer(name: str, value: Any, least: int, most: int) -> int:
    """Return ``value`` if it is a whole number within the bounds.

    Raises:
        ConfigError: It is not; the text names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"{name}: expected a whole number from {least} to {most}, got {value!r}")
    return value


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """Return ``value`` as a float if it is a number within the bounds.

    Raises:
        ConfigError: It is not; the text names the field.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"{name}: expected a number from {least:g} to {most:g}, got {value!r}")
    return float(value)


def check_name(name: str, value: Any) -> str:
    """Return ``value`` if it is a short printable text.

    Raises:
        ConfigError: It is not; the text names the field.
    """
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= _MAX_NAME:
        raise ConfigError(f"{name}: expected names of 1 to {_MAX_NAME} printable characters, got {value!r}")
    return value


def check_count(name: str, values: Collection[Any], least: int, most: int) -> int:
    """Return the number of entries if it is within the bounds.

    Raises:
        ConfigError: It is not; the text names the field.
    """
    if not least <= len(values) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise ConfigError(f"{name}: expected {wanted} entries, got {len(values)}")
    return len(values)


def check_product(name: str, values: Sequence[int], most: int) -> None:
    """Refuse sizes whose product is larger than ``most``.

    Raises:
        ConfigError: It is; the text names the field.
    """
    if math.prod(values) > most:
        raise ConfigError(
            f"{name}: expected at most {most:,} voxels, got {list(values)} = {math.prod(values):,}"
        )
