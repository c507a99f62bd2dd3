"""What an image can be turned about, by name: an axis of the body, or an axis of the array as it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from medconv.errors import ConfigError
from medconv.types import Geometry

BODY_AXES = {"R": ("A", "S"), "A": ("S", "R"), "S": ("R", "A")}
"""Left to right, back to front, feet to head, and the directions that span the plane which turns about each."""

ARRAY_AXES = {"0": (1, 2), "1": (2, 0), "2": (0, 1)}
"""The axes as they are stored, and the plane which turns about each."""

_OPPOSITE = {"R": "L", "A": "P", "S": "I"}


def axis_name(axis: str) -> str:
    """The name of an axis: ``R A S`` for the body's (``L P I`` are the same ones), ``0 1 2`` for the array's.

    Raises:
        ConfigError: It is called otherwise.

    Example:
        >>> axis_name("i"), axis_name("2")
        ('S', '2')
    """
    letter = axis.upper()
    back = {opposite: name for name, opposite in _OPPOSITE.items()}
    name = back.get(letter, letter)
    if name not in BODY_AXES and name not in ARRAY_AXES:
        raise ConfigError(
            f"expected an axis R, A or S (of the body) or 0, 1 or 2 (of the array as stored), got {axis!r}"
        )
    return name


def turning_plane(axis: str, geometry: Geometry, shape: Sequence[int], name: str) -> tuple[int, int]:
    """The array axes that turn about an axis; positive angles lead from the first of them towards the second.

    About an axis of the body the sense is that of the right hand, however the volume is stored.

    Args:
        axis: As ``axis_name`` gives it.
        geometry: Of the volume.
        shape: ``*S``, three axes.
        name: What errors call the volume.

    Raises:
        ConfigError: The volume is a slice, and another axis than the one through it is named.

    Example:
        >>> import numpy as np
        >>> stored = Geometry(np.diag([-1.0, 1.0, 1.0, 1.0]), (1.0, 1.0, 1.0), "LAS")
        >>> turning_plane("S", stored, (8, 8, 8), "a"), turning_plane("2", stored, (8, 8, 8), "a")
        ((1, 0), (0, 1))
    """
    if axis in ARRAY_AXES:
        plane = ARRAY_AXES[axis]
    else:
        places, signs = [], 1
        for direction in BODY_AXES[axis]:
            is_forward = direction in geometry.orientation
            places.append(geometry.orientation.index(direction if is_forward else _OPPOSITE[direction]))
            signs *= 1 if is_forward else -1
        plane = (places[0], places[1]) if signs > 0 else (places[1], places[0])
    if min(shape[place] for place in plane) == 1:
        raise ConfigError(
            f"{name}: a slice of {' × '.join(map(str, shape))} voxels has no plane that turns about {axis}; turn it "
            f"about {next((a for a, (b, c) in ARRAY_AXES.items() if min(shape[b], shape[c]) > 1), 'none')}"
        )
    return plane
