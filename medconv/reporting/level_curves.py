"""Scores against levels on paper: a panel for each disturbance, a colour and a marker for each network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import ceil, isfinite

from matplotlib.axes import Axes

from medconv.errors import DatasetError
from medconv.reporting.figure import Picture
from medconv.reporting.level_panel import (
    ARM_COLOURS,
    MOST_MARKED,
    LevelPanel,
    LevelPoint,
    levels_of,
    value_range,
)

_MARKERS = ("o", "s", "^", "D", "v", "P")
_COLUMNS = 3


def draw_levels(
    panels: Sequence[LevelPanel], path: str | os.PathLike[str] | None = None, title: str = ""
) -> Picture:
    """Draw curves with shaded intervals; panels of one score share the axis up.

    Args:
        panels: At least one.
        path: Where to write the picture; the suffix names the format. ``None``: it is only returned.
        title: Heading.

    Raises:
        DatasetError: There is no panel.

    Example:
        >>> panel = LevelPanel("rotation", "angle / °", "Dice", {"plain": [LevelPoint(0, .9), LevelPoint(90, .6)]})
        >>> [ax.get_xlabel() for ax in draw_levels([panel]).axes]
        ['angle / °']
    """
    if not panels:
        raise DatasetError("expected at least one disturbance to draw, got none")
    columns = min(_COLUMNS, len(panels))
    rows = ceil(len(panels) / columns)
    picture = Picture(figsize=(4.0 * columns, 3.2 * rows + 0.5), layout="constrained", facecolor="white")
    axes = picture.subplots(rows, columns, squeeze=False).ravel()
    for place, ax in enumerate(axes):
        if place >= len(panels):
            ax.remove()
            continue
        panel = panels[place]
        _draw(ax, panel, is_first=place % columns == 0 or panel.y_title != panels[place - 1].y_title)
        low, high = value_range(p for p in panels if p.y_title == panel.y_title)
        room = 0.04 * (high - low or 1.0)
        ax.set_ylim(low - room, high + room)
    handles, names = axes[0].get_legend_handles_labels()
    legend = picture.legend(
        handles, names, loc="outside lower center", ncols=min(4, len(names)), frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    if title:
        picture.suptitle(title, fontsize=11, parse_math=False)
    if path is not None:
        picture.write(path)
    return picture


def _draw(ax: Axes, panel: LevelPanel, *, is_first: bool) -> None:
    for number, (name, points) in enumerate(panel.curves.items()):
        colour, marker = ARM_COLOURS[number % len(ARM_COLOURS)], _MARKERS[number % len(_MARKERS)]
        levels = [p.level for p in points]
        ax.plot(
            levels, [p.mean for p in points], color=colour, marker=marker, markersize=4, lw=1.6, label=name
        )
        _shade(ax, points, colour)
    if panel.ceiling:
        levels, means = [p.level for p in panel.ceiling], [p.mean for p in panel.ceiling]
        ax.plot(levels, means, color="#6b7280", ls=":", lw=1.4, label="ceiling of interpolation")
    ax.set_title(panel.title, fontsize=10, parse_math=False)
    ax.set_xlabel(panel.x_title, parse_math=False)
    if is_first:
        ax.set_ylabel(panel.y_title, parse_math=False)
    if len(levels := levels_of(panel)) <= MOST_MARKED:
        ax.set_xticks(levels, [f"{level:g}" for level in levels])
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _shade(ax: Axes, points: Sequence[LevelPoint], colour: str) -> None:
    known = [p for p in points if isfinite(p.low) and isfinite(p.high)]
    ax.fill_between(
        [p.level for p in known],
        [p.low for p in known],
        [p.high for p in known],
        color=colour,
        alpha=0.16,
        lw=0,
    )
