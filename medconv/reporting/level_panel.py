"""A score against the level of something, one curve a network: what a picture and a page draw alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

ARM_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8F6A00", "#56B4E9")
"""On white; after Okabe and Ito (2008), without the yellows that vanish on paper."""

ARM_COLOURS_ON_DARK = ("#5AB0E8", "#FF9A57", "#3FCFA0", "#E8A5CB", "#E0B83E", "#A9DBF7")
"""The same in a dark page."""


MOST_MARKED = 9
"""Up to so many levels are the marks of their axis; more would run into each other."""


class LevelPoint(NamedTuple):
    """A mean and its interval at a level.

    Args:
        level: Where it lies across.
        mean: Where it lies up.
        low: Lower limit; nan where there is none.
        high: Upper limit; likewise.
    """

    level: float
    mean: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class LevelPanel:
    """One plot.

    Args:
        title: What is varied.
        x_title: Of the axis across, with its unit.
        y_title: Of the axis up.
        curves: Points by ascending level, by the name of the network.
        ceiling: What the best network could reach, or nothing.
    """

    title: str
    x_title: str
    y_title: str
    curves: Mapping[str, Sequence[LevelPoint]]
    ceiling: Sequence[LevelPoint] = ()


def levels_of(panel: LevelPanel) -> list[float]:
    """Every level that a panel shows, ascending.

    Example:
        >>> levels_of(LevelPanel("a", "x", "y", {"net": [LevelPoint(90, 0.8), LevelPoint(0, 0.9)]}))
        [0, 90]
    """
    return sorted({point.level for points in panel.curves.values() for point in points})


def value_range(panels: Iterable[LevelPanel]) -> tuple[float, float]:
    """The smallest and the largest of everything that panels show, so that they can share an axis.

    Example:
        >>> value_range([LevelPanel("a", "x", "y", {"net": [LevelPoint(0, 0.8, 0.7, 0.9)]}, [LevelPoint(0, 1.0)])])
        (0.7, 1.0)
    """
    values = [
        value
        for panel in panels
        for points in (*panel.curves.values(), panel.ceiling)
        for point in points
        for value in point[1:]
        if isfinite(value)
    ]
    return min(values, default=0.0), max(values, default=1.0)
