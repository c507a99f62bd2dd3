"""Colours: which channels an image has, when opacity says nothing, and whether colours can be labels."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.layout import ImageLayout
from medconv.io.microscopy.axes import Arrangement
from medconv.io.microscopy.formats import JPEG_SUFFIXES
from medconv.io.microscopy.picture import Picture

_MASK_ENDS = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65_535}


def channels_of(picture: Picture, arrangement: Arrangement, layout: ImageLayout) -> tuple[int, ...]:
    """Which channels are read: those that the user chose, else all but opacity.

    Raises:
        BadImageError: A chosen one is not there.
    """
    if picture.palette is not None:
        total = 1 if (picture.palette == picture.palette[:, :1]).all() else 3
    else:
        total = arrangement.channels
    if too_large := [channel for channel in layout.channels if channel >= total]:
        raise BadImageError(
            f"{picture.name}: expected channels from 0 to {total - 1}, which it has, got {too_large}; choose others"
        )
    return layout.channels or tuple(range(total - _shows_opacity(picture, arrangement)))


def refuse_transparency(picture: Picture, arrangement: Arrangement, stored: Any, layout: ImageLayout) -> None:
    """Let an opacity that is the same everywhere go, because it says nothing.

    Raises:
        BadImageError: It differs from pixel to pixel, and nobody chose channels.
    """
    if layout.channels or not _shows_opacity(picture, arrangement):
        return
    last = arrangement.channels - 1
    alpha = arrangement.plane(stored, last)
    if (least := alpha.min()) != (most := alpha.max()):
        raise BadImageError(
            f"{picture.name}: expected an opaque image, its alpha channel runs from {least} to {most}; flatten it, or "
            f"choose channels that are intensities (--channel, such as --channel "
            f"{' '.join(map(str, range(last)))})"
        )


def label_values(
    picture: Picture, arrangement: Arrangement, stored: Any, allowed: Collection[int] | None
) -> npt.NDArray[Any]:
    """``(Z, Y, X)`` of the numbers that stand for labels.

    Args:
        picture: The open file.
        arrangement: Of its axes.
        stored: Its pixels.
        allowed: Every value that may occur; ``None`` allows all.

    Raises:
        BadImageError: Colours, or a format that changes values.
    """
    if picture.name.lower().endswith(JPEG_SUFFIXES):
        raise BadImageError(
            f"{picture.name}: expected a label map, JPEG changes the values of pixels; save labels as PNG or TIFF"
        )
    count = arrangement.channels - _shows_opacity(picture, arrangement)
    planes = [arrangement.plane(stored, channel) for channel in range(count)]
    if any(not np.array_equal(planes[0], other) for other in planes[1:]):
        colours = len(np.unique(np.stack(planes, -1).reshape(-1, count), axis=0))
        raise BadImageError(
            f"{picture.name}: expected one number a pixel as its label, got {colours:,} colours in {count} channels; "
            f"give each colour a number and save the map with one channel"
        )
    values = planes[0].view(np.uint8) if planes[0].dtype == bool else planes[0]
    return _without_full_scale(values, allowed)


def _without_full_scale(values: npt.NDArray[Any], allowed: Collection[int] | None) -> npt.NDArray[Any]:
    """A mask of only 0 and the largest number of its type is one of 0 and 1, unless other labels are declared."""
    end = _MASK_ENDS.get(values.dtype)
    if end is None or int(values.max()) != end or (allowed is not None and set(allowed) != {0, 1}):
        return values
    if not ((values == 0) | (values == end)).all():
        return values
    warnings.warn(f"a mask of the values 0 and {end} was taken for one of 0 and 1", stacklevel=4)
    return (values > 0).astype(np.uint8)


def _shows_opacity(picture: Picture, arrangement: Arrangement) -> bool:
    return picture.has_alpha and arrangement.axes.endswith("C") and arrangement.channels in (2, 4)
