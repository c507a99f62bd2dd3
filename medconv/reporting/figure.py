"""The sheet that every picture is drawn on, and the colours of classes."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medconv.io.atomic import atomic_path

CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2")
"""Distinct to every kind of colour vision, on grey (Okabe and Ito, 2008)."""


class Picture(Figure):
    """A figure with a canvas of its own, known to no global list; a notebook shows it as it is.

    Example:
        >>> picture = Picture(figsize=(2, 1))
        >>> _ = picture.add_subplot()
        >>> picture._repr_png_()[1:4]
        b'PNG'
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        FigureCanvasAgg(self)

    def write(self, path: str | os.PathLike[str], dpi: int = 150) -> None:
        """Write the picture in the format that the suffix names; the file appears whole or not at all."""
        with atomic_path(os.fspath(path)) as temporary:
            self.savefig(temporary, dpi=dpi)

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=100)
        return stream.getvalue()


def class_colour(label: int) -> str:
    """The colour of a label (background, 0, has none); after seven they begin again."""
    return CLASS_COLOURS[(label - 1) % len(CLASS_COLOURS)]


def write_heading(picture: Picture, title: str, line: str) -> None:
    """Write a title, and a line below it, at the top of a sheet."""
    top = 1 - 0.06 / picture.get_figheight()
    second = 1 - 0.33 / picture.get_figheight()
    # a dollar sign in a file name is no formula
    picture.text(0.5, top, title, ha="center", va="top", fontsize=11, weight="bold", parse_math=False)
    picture.text(0.5, second, line, ha="center", va="top", fontsize=9, parse_math=False)


def write_legend(picture: Picture, handles: Sequence[Line2D], entries: Sequence[str]) -> None:
    """Write what each line means at the foot of a sheet."""
    legend = picture.legend(
        handles,
        entries,
        loc="lower center",
        ncols=legend_columns(picture.get_figwidth(), entries),
        frameon=False,
        fontsize=8,
        handlelength=2.6,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def legend_columns(width_in: float, entries: Sequence[str]) -> int:
    """As many columns as the longest name lets stand side by side."""
    column_in = 0.6 + 0.075 * max(map(len, entries), default=0)
    return max(1, min(len(entries), int(width_in / column_in)))
