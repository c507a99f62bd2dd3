"""Along which axes a sample may be mirrored: wherever left stays left by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from medconv.io.geometry import NATIVE

_SIDE = re.compile(r"(?<![A-Za-z])(?i:left|right|[lr](?![A-Za-z0-9]))|Left|Right")


def mirror_axes(orientation: str, spatial_dims: int, label_names: Iterable[str]) -> tuple[int, ...]:
    """Axes that may be mirrored without a label changing its meaning.

    All of them, unless a name speaks of a side ("left kidney"): then the left-right axis stays as it is,
    because in a mirror image a left kidney is a right one. Where it is not known which axis that is, none is
    mirrored.

    Args:
        orientation: Direction in which each spatial axis grows, such as ``"RAS"``, or ``"native"``: unknown.
        spatial_dims: Number of spatial axes.
        label_names: Names of the classes.

    Example:
        >>> mirror_axes("RAS", 3, ["liver"]), mirror_axes("RAS", 3, ["kidney_left", "kidney_right"])
        ((0, 1, 2), (1, 2))
    """
    if not any(_SIDE.search(name) for name in label_names):
        return tuple(range(spatial_dims))
    if orientation == NATIVE:
        return ()
    return tuple(axis for axis, code in enumerate(orientation) if code not in "LR")
