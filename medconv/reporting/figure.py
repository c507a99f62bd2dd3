"""The sheet that every picture is drawn on, and the colours of classes."""

from __future__ import annotations

import io
import os
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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
