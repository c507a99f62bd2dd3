"""What was found of an image's objects, with heading and legend: the picture of a run that tells objects apart."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from medconv.metrics import instance_overlap
from medconv.reporting.figure import Picture, write_heading, write_legend
from medconv.reporting.instance_drawing import ERROR_COLOURS, draw_instance_errors
from medconv.reporting.instance_pictures import most_different_slice

Array = npt.NDArray[Any]

_LONGER_SIDE_IN, _HEADING_IN, _LEGEND_IN = 5.5, 0.6, 0.55
_LEGEND = ("found", "missed", "prediction", "invented")


def draw_object_overlay(
    image: Any, truth: Any, prediction: Any, path: str | os.PathLike[str] | None = None, title: str = ""
) -> Picture:
    """Outline the objects of truth and prediction as found, missed and invented at an IoU of 0.5.

    Args:
        image: Intensities, one channel; on a coarser or finer grid than the objects it is laid under them.
        truth: Object numbers, 0 is background.
        prediction: Likewise.
        path: Where to write the picture; the suffix names the format. ``None``: it is only returned.
        title: First line of the heading, such as the image's name.

    Shape:
        - ``truth``, ``prediction``: ``(rows, columns)``, or ``(rows, columns, slices)``: then the slice in which both
          differ most is drawn, and the heading counts the objects of all slices.
        - ``image``: as many axes.

    Raises:
        ShapeError: Truth and prediction differ in shape.

    Returns:
        The picture, which a notebook shows.

    Example:
        >>> truth = np.zeros((16, 16), int)
        >>> truth[2:6, 2:6], truth[9:14, 9:14] = 1, 2
        >>> picture = draw_object_overlay(truth * 1.0, truth, np.where(truth == 1, 1, 0))
        >>> picture.texts[1].get_text()
        '2 objects: 1 found, 1 missed, 0 invented at IoU 0.5'
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    overlap = instance_overlap(prediction, truth)
    found = len(overlap.match(0.5))
    objects, predicted = len(overlap.ref_sizes), len(overlap.pred_sizes)
    canvas = draw_instance_errors(
        *most_different_slice(_laid_under(np.asarray(image), truth.shape), prediction, truth)
    )
    picture = _sheet(canvas)
    counts = f"{found} found, {objects - found} missed, {predicted - found} invented at IoU 0.5"
    write_heading(picture, title, f"{objects} objects: {counts}")
    handles = [
        Line2D([], [], color=ERROR_COLOURS[kind], lw=2, linestyle="--" if kind == "prediction" else "-")
        for kind in _LEGEND
    ]
    write_legend(picture, handles, _LEGEND)
    if path is not None:
        picture.write(path)
    return picture


def _laid_under(image: Array, shape: tuple[int, ...]) -> Array:
    """The image at the middle of each of so many pixels; both show the same field of view."""
    image = image.reshape(image.shape + (1,) * (len(shape) - image.ndim))
    places = [((np.arange(n) + 0.5) * image.shape[axis] / n).astype(int) for axis, n in enumerate(shape)]
    laid: Array = image[np.ix_(*places)]
    return laid


def _sheet(canvas: Array) -> Picture:
    """The canvas on a white sheet, with room for heading and legend."""
    rows, columns = canvas.shape[:2]
    scale = _LONGER_SIDE_IN / max(rows, columns)
    width_in, middle_in = max(columns * scale + 0.2, 5.0), rows * scale
    height_in = _HEADING_IN + middle_in + _LEGEND_IN
    picture = Picture(figsize=(width_in, height_in), facecolor="white")
    share = columns * scale / width_in
    ax = picture.add_axes(((1 - share) / 2, _LEGEND_IN / height_in, share, middle_in / height_in))
    ax.imshow(canvas, interpolation="antialiased", aspect="auto")
    ax.set_axis_off()
    return picture
