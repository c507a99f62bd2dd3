"""Truth and prediction drawn on the image: the picture to look at before believing any number."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from medconv.errors import ShapeError
from medconv.metrics import dice
from medconv.metrics.grid import as_label_maps, as_spacing_mm
from medconv.reporting.figure import Picture, class_colour, legend_columns, write_heading, write_legend
from medconv.reporting.panel import OUTLINE_STYLES, draw_image, draw_outlines, draw_scale_bar, letter_edges
from medconv.reporting.planes import Plane, disagreement, planes_of
from medconv.types import LengthUnit

Array = npt.NDArray[Any]

_PANEL_HEIGHT_IN = 4.0
_PANELS_WIDTH_IN = 11.0
_GAP_IN = 0.1
_HEADING_IN = 0.6
_LEGEND_ROW_IN = 0.2
_CLASSES_IN_HEADING = 6


def draw_overlay(
    image: Any,
    truth: Any,
    prediction: Any,
    spacing_mm: Any,
    path: str | os.PathLike[str] | None = None,
    label_names: Mapping[int, str] | None = None,
    title: str = "",
    orientation: str | None = None,
    *,
    at_disagreement: bool = False,
    note: str = "",
    unit: LengthUnit = "mm",
) -> Picture:
    """Draw outlines of truth (solid) and prediction (dashed) on three orthogonal slices, to physical scale.

    The slices are those in which the classes of the truth, or else of the prediction, show most of themselves. The
    Dice in the heading is that of the whole volume.

    Args:
        image: Intensities, one channel.
        truth: Integer labels, or ``None`` if there is no truth.
        prediction: Integer labels, or ``None``.
        spacing_mm: Voxel edge lengths along the axes.
        path: Where to write the picture; the suffix names the format. ``None``: it is only returned.
        label_names: Names for the legend; other labels are called by their number.
        title: First line of the heading, such as the case's name.
        orientation: Direction in which each axis grows, such as ``"RAS"``; letters mark the edges then.
        at_disagreement: Cut through the largest piece in which both differ, if they do.
        note: Second line of the heading in place of the Dice.
        unit: What ``spacing_mm`` is in: ``"px"`` where nobody knows how large a pixel is.

    Shape:
        - ``image``, ``truth``, ``prediction``: ``(*S)``, 2-D or 3-D, on one grid.

    Raises:
        ShapeError: The arrays differ in shape, are neither 2-D nor 3-D, or labels are not integer.
        GeometryError: The spacing or the orientation does not fit.

    Returns:
        The picture, which a notebook shows.

    Example:
        >>> ball = ((np.indices((16, 16, 16)) - 8) ** 2).sum(0) < 25
        >>> picture = draw_overlay(ball * 1.0, ball, np.roll(ball, 1, 0), 1, label_names={1: "ball"})
        >>> len(picture.axes)
        3
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or image.size == 0:
        raise ShapeError(f"expected an image (*S) with 2 or 3 axes, got {image.shape}; take one channel")
    spacing = as_spacing_mm(spacing_mm, image.ndim)
    sides = _labels_on_grid(image, {"truth": truth, "prediction": prediction})
    names = _names(sides, label_names or {})
    picture = _draw_panels(image, sides, names, spacing, orientation, at_disagreement, unit)
    write_heading(picture, title, note or _score_line(sides, names))
    _write_legend(picture, names, list(sides))
    if path is not None:
        picture.write(path)
    return picture


def _looked_at(sides: Mapping[str, Array], at_disagreement: bool) -> list[Array]:
    """The masks and label maps that decide about planes; the first one that holds anything does."""
    maps = list(sides.values())
    return [disagreement(*maps), *maps] if at_disagreement and len(maps) == 2 else maps


def _draw_panels(
    image: Array,
    sides: Mapping[str, Array],
    names: Mapping[int, str],
    spacing_mm: tuple[float, ...],
    orientation: str | None,
    at_disagreement: bool,
    unit: LengthUnit,
) -> Picture:
    planes = planes_of(*_looked_at(sides, at_disagreement and image.ndim == 3), shape=image.shape)
    picture, axes = _sheet(planes, image.shape, spacing_mm, legend_entries=[*sides, *names.values()])
    for plane, ax in zip(planes, axes, strict=True):
        draw_image(ax, plane, image, spacing_mm)
        for side, labels in sides.items():
            draw_outlines(ax, plane, labels, spacing_mm, side)
        if orientation is not None:
            letter_edges(ax, plane, orientation)
    draw_scale_bar(axes[0], image.shape[planes[0].across] * spacing_mm[planes[0].across], unit)
    return picture


def _labels_on_grid(image: Array, sides: Mapping[str, Any]) -> dict[str, Array]:
    grid = np.broadcast_to(np.uint8(0), image.shape)
    return {name: as_label_maps(labels, grid)[0] for name, labels in sides.items() if labels is not None}


def _names(sides: Mapping[str, Array], label_names: Mapping[int, str]) -> dict[int, str]:
    found = {int(v) for labels in sides.values() for v in np.unique(labels)} - {0}
    return {label: label_names.get(label, f"label {label}") for label in sorted(found)}


def _sheet(
    planes: Sequence[Plane],
    shape: tuple[int, ...],
    spacing_mm: tuple[float, ...],
    legend_entries: Sequence[str],
) -> tuple[Picture, list[Axes]]:
    """A sheet with one panel a plane, all at one scale and centred, and room for the legend below."""
    size_mm = [n * s for n, s in zip(shape, spacing_mm, strict=True)]
    width_mm, height_mm = sum(size_mm[p.across] for p in planes), max(size_mm[p.up] for p in planes)
    in_per_mm = min(_PANEL_HEIGHT_IN / height_mm, _PANELS_WIDTH_IN / width_mm)
    panels_in = width_mm * in_per_mm + _GAP_IN * (len(planes) + 1)
    width_in, middle_in = max(panels_in, 5.0), height_mm * in_per_mm
    rows = -(-len(legend_entries) // legend_columns(width_in, legend_entries))
    legend_in = _LEGEND_ROW_IN * (rows + 1)
    height_in = _HEADING_IN + middle_in + legend_in
    picture, axes = Picture(figsize=(width_in, height_in), facecolor="white"), []
    left_in = (width_in - panels_in) / 2 + _GAP_IN
    for plane in planes:
        w, h = size_mm[plane.across] * in_per_mm, size_mm[plane.up] * in_per_mm
        bottom_in = legend_in + (middle_in - h) / 2
        axes.append(
            picture.add_axes((left_in / width_in, bottom_in / height_in, w / width_in, h / height_in))
        )
        left_in += w + _GAP_IN
    return picture, axes


def _score_line(sides: Mapping[str, Array], names: Mapping[int, str]) -> str:
    """Dice of the whole volume, each class by name while there are few."""
    if len(sides) < 2 or not names:
        return "" if names else "no structure in truth or prediction"
    scores = dice(sides["prediction"], sides["truth"], max(names) + 1)
    if len(names) > _CLASSES_IN_HEADING:
        return f"mean Dice of {len(names)} structures {np.mean([scores[label] for label in names]):.3f}"
    return "Dice:  " + "   ".join(f"{name} {scores[label]:.3f}" for label, name in names.items())


def _write_legend(picture: Picture, names: Mapping[int, str], sides: Sequence[str]) -> None:
    handles = [Line2D([], [], color="0.3", lw=1.6, linestyle=OUTLINE_STYLES[side]) for side in sides]
    handles += [Line2D([], [], color=class_colour(label), lw=5) for label in names]
    write_legend(picture, handles, [*sides, *names.values()])
