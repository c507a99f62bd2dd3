"""``--shard i/n``: which part of the cases a job of many takes."""

from __future__ import annotations

from medconv.errors import ConfigError


def parse_shard(text: str) -> tuple[int, int]:
    """The share and how many there are, from ``"3/8"``; the first is 1.

    Raises:
        ConfigError: Another text, or a share that does not exist.

    Example:
        >>> parse_shard("3/8")
        (3, 8)
    """
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"--shard: expected i/n with i from 1 to n, such as 3/8, got {text!r}")
    return int(number), int(count)
