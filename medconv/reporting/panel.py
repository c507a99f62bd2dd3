"""One slice on paper: grey values, outlines of labels, letters of direction, a bar that shows the scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from medconv.errors import GeometryError
from medconv.reporting.figure import class_colour
from medconv.reporting.planes import Plane
from medconv.reporting.size_text import length_text
from medconv.types import LengthUnit

Array = npt.NDArray[Any]

OUTLINE_STYLES: dict[str, Any] = {"truth": "solid", "prediction": (0, (1.8, 1.3))}
"""Same colour for a class on both sides; dashes stand alone where the prediction leaves the truth."""

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}
_ON_IMAGE = [withStroke(linewidth=2.0, foreground="black")]


def grey_window(image: Array) -> tuple[float, float]:
    """What is drawn black and white: the 1st and the 99.5th percentile."""
    finite = image[np.isfinite(image)]
    low, high = (float(v) for v in np.percentile(finite, (1, 99.5))) if finite.size else (0.0, 0.0)
    return low, high


def draw_image(
    ax: Axes,
    plane: Plane,
    image: Array,
    spacing_mm: tuple[float, ...],
    window: tuple[float, float] | None = None,
) -> None:
    """Draw the grey values to physical scale, from black to white over ``window`` (``None``: of the image itself)."""
    low, high = window or grey_window(image)
    width_mm, height_mm = (image.shape[a] * spacing_mm[a] for a in (plane.across, plane.up))
    ax.imshow(
        plane.cut(image).astype(np.float32),
        cmap="gray",
        vmin=low,
        vmax=high if high > low else low + 1.0,
        origin="lower" if plane.through is not None else "upper",
        extent=(0, width_mm, 0, height_mm) if plane.through is not None else (0, width_mm, height_mm, 0),
        interpolation="nearest",
        aspect="equal",
    )
    # an outline at the edge of the image must not make the panel grow
    ax.set_autoscale_on(False)
    ax.set_axis_off()


def draw_outlines(ax: Axes, plane: Plane, labels: Array, spacing_mm: tuple[float, ...], side: str) -> None:
    """Draw the outline of every label of one side (``"truth"`` or ``"prediction"``) that the slice meets."""
    # the frame of background closes the outline of what the field of view cuts off
    cut = np.pad(plane.cut(labels), 1)
    across_mm = (np.arange(cut.shape[1]) - 0.5) * spacing_mm[plane.across]
    up_mm = (np.arange(cut.shape[0]) - 0.5) * spacing_mm[plane.up]
    for label in np.unique(cut[cut != 0]):
        ax.contour(
            across_mm,
            up_mm,
            (cut == label).astype(np.float32),
            levels=[0.5],
            colors=[class_colour(int(label))],
            linewidths=1.6,
            linestyles=[OUTLINE_STYLES[side]],
        )


def letter_edges(ax: Axes, plane: Plane, orientation: str) -> None:
    """Write at each edge the anatomical direction that lies there.

    Raises:
        GeometryError: The orientation has not one of the letters R L A P S I for each axis.
    """
    axes = 2 if plane.through is None else 3
    if len(orientation) != axes or not set(orientation) <= _OPPOSITE.keys():
        raise GeometryError(
            f"expected an orientation of {axes} letters like {'RAS'[:axes]}, got {orientation!r}"
        )
    right, top = orientation[plane.across], orientation[plane.up]
    if plane.through is None:
        # the rows of a 2-D image run down the paper
        top = _OPPOSITE[top]
    places = [
        (0.02, 0.5, _OPPOSITE[right]),
        (0.98, 0.5, right),
        (0.5, 0.02, _OPPOSITE[top]),
        (0.5, 0.98, top),
    ]
    for x, y, letter in places:
        ax.text(
            x,
            y,
            letter,
            transform=ax.transAxes,
            color="white",
            fontsize=8,
            ha={0.02: "left", 0.98: "right"}.get(x, "center"),
            va={0.02: "bottom", 0.98: "top"}.get(y, "center"),
            path_effects=_ON_IMAGE,
        )


def draw_scale_bar(ax: Axes, width_mm: float, unit: LengthUnit = "mm") -> None:
    """Draw a bar of a round length, at most a quarter of the panel, with the length beside it."""
    length_mm = round_length_mm(width_mm / 4)
    left, below = 0.04, 0.05
    right = left + length_mm / width_mm
    ax.plot([left, right], [below] * 2, transform=ax.transAxes, color="white", lw=2.5, path_effects=_ON_IMAGE)
    ax.text(
        (left + right) / 2,
        below + 0.02,
        length_text(length_mm, unit),
        transform=ax.transAxes,
        color="white",
        fontsize=7,
        ha="center",
        va="bottom",
        path_effects=_ON_IMAGE,
    )


def round_length_mm(limit_mm: float) -> float:
    """The largest of …, 0.1, 0.2, 0.5, 1, 2, 5, 10, … that is not above the limit.

    Example:
        >>> round_length_mm(12.5), round_length_mm(0.3), round_length_mm(5)
        (10.0, 0.2, 5.0)
    """
    decade = 10.0 ** np.floor(np.log10(limit_mm))
    step = max(s for s in (1, 2, 5) if s * decade <= limit_mm * (1 + 1e-9))
    return float(round(step * decade, 12))
