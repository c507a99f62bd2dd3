"""Which cases train and which judge: deterministic, by patient, and as steady as exact sizes allow.

Groups (patients) are ranked by a hash of the seed and their name, and the ranking is cut. So the split
depends neither on the order nor on the place of the files, and its sizes are exact. A pure threshold on the
hash would never move a case when another one is added, but leaves sizes to chance (208 cases at 20 %:
42 ± 6); with the ranking, a new case moves at most one other across each cut.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from medconv.errors import ConfigError


@dataclass(frozen=True)
class Split:
    """Positions of the cases that train and of those that validate; disjoint, together all."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


def split_fraction(groups: Sequence[str], fraction: float, seed: int) -> Split:
    """Keep about ``fraction`` of the cases for validation, never parting a group.

    With one case a group the size is ``round(fraction · n)`` exactly, but at least one case on each side;
    with larger groups it is as near as the ranking allows.

    Args:
        groups: The group of each case.
        fraction: Share of cases to validate on, between 0 and 1.
        seed: Another seed is another split.

    Raises:
        ConfigError: A fraction outside (0, 1), or fewer than two groups.

    Example:
        >>> len(split_fraction([f"patient{i}" for i in range(208)], 0.2, seed=0).validation)
        42
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"expected a validation fraction between 0 and 1, got {fraction}")
    sizes = _ranked_sizes(groups, seed, at_least=2)
    wanted, taken = fraction * len(groups), 0
    chosen: set[str] = set()
    for name, size in list(sizes.items())[:-1]:
        # a group is taken if that brings the size nearer to the one wanted
        if chosen and abs(taken + size - wanted) > abs(taken - wanted):
            break
        chosen.add(name)
        taken += size
    return _split_by(groups, chosen)


def split_folds(groups: Sequence[str], num_folds: int, fold: int, seed: int) -> Split:
    """One fold of a cross-validation: every case validates in exactly one fold, groups stay together.

    With one case a group the folds differ by at most one case.

    Args:
        groups: The group of each case.
        num_folds: Folds in all, at least 2.
        fold: The one to validate on, from 0.
        seed: Another seed is another division.

    Raises:
        ConfigError: A fold outside ``0 … num_folds - 1``, or fewer groups than folds.
    """
    if num_folds < 2 or not 0 <= fold < num_folds:
        raise ConfigError(
            f"expected num_folds >= 2 and a fold from 0 to num_folds - 1, got {num_folds} and {fold}"
        )
    chosen, before = set(), 0
    for name, size in _ranked_sizes(groups, seed, at_least=num_folds).items():
        middle = (2 * before + size) * num_folds // (2 * len(groups))
        if middle == fold:
            chosen.add(name)
        before += size
    if not chosen:
        raise ConfigError(
            f"fold {fold} of {num_folds} is empty: one group holds most of the cases; choose fewer folds"
        )
    return _split_by(groups, chosen)


def _ranked_sizes(groups: Sequence[str], seed: int, at_least: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name in sorted(groups, key=lambda name: (_rank(name, seed), name)):
        sizes[name] = sizes.get(name, 0) + 1
    if len(sizes) < at_least:
        raise ConfigError(
            f"expected at least {at_least} groups to split, got {len(sizes)} "
            f"({len(groups)} cases); add cases, or give them separate groups"
        )
    return sizes


def _rank(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def _split_by(groups: Sequence[str], chosen: set[str]) -> Split:
    return Split(
        train=tuple(i for i, name in enumerate(groups) if name not in chosen),
        validation=tuple(i for i, name in enumerate(groups) if name in chosen),
    )
