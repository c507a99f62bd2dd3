"""Masks that were taken for maps of numbered objects: everything has one number, and lies in pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

_FEWEST_PIECES = 3
_MOST_OF_ALL = 0.8
"""Share of the largest piece; above it, the others are specks beside one object."""


def unnumbered_text(
    objects: npt.NDArray[np.integer[Any]], otherwise: str = "say that labels are semantic"
) -> str:
    """What to say of a map whose only number stands for several objects; nothing for any other map.

    Args:
        objects: ``(*S)``, one number an object, 0 the background.
        otherwise: What to do where it is right that they have no numbers.

    Example:
        >>> mask = np.array([[1, 1, 0, 1, 1, 0, 1, 1]])
        >>> unnumbered_text(mask)[:66]
        'expected one number an object, got one number for 3 separate piece'
        >>> unnumbered_text(mask * [[1, 1, 0, 2, 2, 0, 3, 3]])
        ''
    """
    inside = objects > 0
    largest = objects.max(initial=0)
    if not largest or (objects[inside] != largest).any():
        return ""
    pieces, count = scipy.ndimage.label(inside)
    if count < _FEWEST_PIECES:
        return ""
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.max() > _MOST_OF_ALL * sizes.sum():
        return ""
    return (
        f"expected one number an object, got one number for {count} separate pieces, which would be one object; is "
        f"it a mask of all of them? Number the objects, or {otherwise}"
    )
