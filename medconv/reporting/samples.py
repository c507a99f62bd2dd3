"""A sheet of training samples: one row a patch, as it was cut and as augmentation changes it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from medconv.errors import ShapeError
from medconv.reporting.figure import Picture, class_colour
from medconv.reporting.panel import draw_image, draw_outlines, grey_window
from medconv.reporting.planes import planes_of

Array = npt.NDArray[Any]

_PANEL_IN, _TITLE_IN, _LEGEND_IN = 1.7, 0.45, 0.35
_WORDS_A_LINE = 26


class SampleRow(NamedTuple):
    """Variants of one patch.

    Args:
        name: Written beside the row.
        images: ``(n, *P)``; the grey window of the first one is that of all.
        labels: ``(n, *P)`` integers.
        titles: Written above each.
    """

    name: str
    images: Array
    labels: Array
    titles: Sequence[str]


def draw_samples(
    rows: Sequence[SampleRow],
    spacing_mm: Sequence[float],
    *,
    path: str | os.PathLike[str] | None = None,
    label_names: Mapping[int, str] | None = None,
) -> Picture:
    """Draw the slice of every variant that shows most of its structures.

    Args:
        rows: At least one, all with as many variants.
        spacing_mm: Voxel edge lengths.
        path: Where the picture goes; ``None``: nowhere.
        label_names: For the legend.

    Raises:
        ShapeError: No rows, or rows of different lengths.

    Example:
        >>> patch = np.zeros((2, 6, 8))
        >>> picture = draw_samples([SampleRow("a", patch, patch.astype(int), ["as cut", "noise"])], (1.0, 1.0))
        >>> len(picture.axes)
        2
    """
    columns = {len(row.images) for row in rows}
    if len(columns) != 1:
        raise ShapeError(f"expected at least one row, all of one length, got lengths {sorted(columns)}")
    (width,), spacing = columns, tuple(float(mm) for mm in spacing_mm)
    height_in = len(rows) * (_PANEL_IN + _TITLE_IN) + _LEGEND_IN
    picture = Picture(figsize=(width * _PANEL_IN, height_in), facecolor="white")
    for r, row in enumerate(rows):
        for c in range(width):
            plane = planes_of(row.labels[c], row.labels[0], shape=row.images[c].shape)[0]
            bottom = 1 - ((r + 1) * (_PANEL_IN + _TITLE_IN)) / height_in
            ax = picture.add_axes(
                (c / width + 0.004, bottom, 1 / width - 0.008, 0.97 * _PANEL_IN / height_in)
            )
            draw_image(ax, plane, row.images[c], spacing, grey_window(row.images[0]))
            draw_outlines(ax, plane, row.labels[c], spacing, "truth")
            title = f"{row.name}\n{row.titles[c]}" if c == 0 else fill(row.titles[c], _WORDS_A_LINE)
            ax.set_title(title, fontsize=6, pad=2, parse_math=False)
    _write_legend(picture, rows, label_names or {})
    if path is not None:
        picture.write(path)
    return picture


def _write_legend(picture: Picture, rows: Sequence[SampleRow], names: Mapping[int, str]) -> None:
    found = sorted({int(v) for row in rows for v in np.unique(row.labels)} - {0})
    if found:
        handles = [Line2D([], [], color=class_colour(label), lw=4) for label in found]
        words = [names.get(label, f"label {label}") for label in found]
        legend = picture.legend(
            handles, words, loc="lower center", ncols=min(6, len(found)), frameon=False, fontsize=7
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
