"""Which stored axis is which, and how they become ``(C, Y, X, Z)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.layout import ImageLayout
from medconv.io.microscopy.picture import UNKNOWN, Picture

_WORDS = {"Z": "slices", "C": "channels", "T": "times"}


@dataclass(frozen=True)
class Arrangement:
    """Where rows, columns, slices and channels lie in an array.

    Args:
        axes: One letter of ``C Z Y X`` an axis that is kept.
        shape: Its lengths.
        dropped: Positions, in the file, of axes of length 1 that say nothing.
    """

    axes: str
    shape: tuple[int, ...]
    dropped: tuple[int, ...] = ()

    def size(self, axis: str) -> int:
        """Length of an axis; 1 where it is not there."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    @property
    def channels(self) -> int:
        """``C`` as stored."""
        return self.size("C")

    @property
    def spatial(self) -> tuple[int, int, int]:
        """Rows, columns, slices."""
        return self.size("Y"), self.size("X"), self.size("Z")

    def plane(self, stored: Any, channel: int) -> npt.NDArray[Any]:
        """``(Z, Y, X)`` of one channel.

        Args:
            stored: All pixels, as an array or as something that is read by pieces.
            channel: From 0; of no matter where there is no axis of channels.
        """
        letters = list(self.axes)
        for place in self.dropped:
            letters.insert(place, "")
        index = tuple({"": 0, "C": channel}.get(letter, slice(None)) for letter in letters)
        left = [letter for letter in letters if letter in ("Z", "Y", "X")]
        values = np.asarray(stored[index]).transpose([left.index(axis) for axis in "ZYX" if axis in left])
        return values if "Z" in left else values[None]


def arrange(picture: Picture, layout: ImageLayout) -> Arrangement:
    """Decide what each axis is: what the user states, else what the file says.

    Raises:
        BadImageError: Nobody says it, the user's letters do not fit the shape, or there are several times.
    """
    kept = [n for n, size in enumerate(picture.shape) if size != 1 or picture.axes[n] in "YX"]
    axes = _stated(picture, layout.axes, kept) if layout.axes else _own(picture)
    kept = [n for n, letter in enumerate(axes) if letter in "CZYX"]
    return Arrangement(
        "".join(axes[n] for n in kept),
        tuple(picture.shape[n] for n in kept),
        tuple(n for n in range(len(axes)) if n not in kept),
    )


def _stated(picture: Picture, stated: str, kept: list[int]) -> str:
    """The user's letters on the axes of the file; axes of length 1 need none."""
    shape = picture.shape
    places = list(range(len(shape))) if len(stated) == len(shape) else kept
    if len(stated) != len(places):
        letters = "".join(picture.axes[n] for n in places)
        said = f", which the file calls {letters}" if UNKNOWN not in letters else ""
        raise BadImageError(
            f"{picture.name}: expected one letter an axis, got --axes {stated} for the shape "
            f"{tuple(shape[n] for n in places)}{said}; state other axes"
        )
    known = dict(zip(places, stated, strict=True))
    return _without_times(picture, "".join(known.get(place, UNKNOWN) for place in range(len(shape))))


def _own(picture: Picture) -> str:
    unclear = [
        n
        for n, (a, size) in enumerate(zip(picture.axes, picture.shape, strict=True))
        if a == UNKNOWN and size > 1
    ]
    if unclear:
        raise BadImageError(_ambiguity(picture, unclear))
    return _without_times(picture, picture.axes)


def _without_times(picture: Picture, axes: str) -> str:
    times = dict(zip(axes, picture.shape, strict=True)).get("T", 1)
    if times > 1:
        other = axes.replace("T", "Z") if "Z" not in axes else axes.replace("T", "")
        raise BadImageError(
            f"{picture.name}: expected one image, got {times} times (axes {axes}, shape {picture.shape}); save each "
            f"time as a file"
            + (f", or state --axes {other} to take them for slices" if "Z" not in axes else "")
        )
    return axes


def _ambiguity(picture: Picture, unclear: list[int]) -> str:
    sizes = " and ".join(str(picture.shape[n]) for n in unclear)
    free = [letter for letter in "ZC" if letter not in picture.axes]
    if len(unclear) > len(free):
        return (
            f"{picture.name}: expected an image or a stack, got the shape {picture.shape} with {len(unclear)} axes of "
            f"which the file does not say what they are; save it as OME-TIFF, which says it, or state --axes"
        )
    ways = []
    for letter in free if len(unclear) == 1 else ():
        axes = "".join(
            letter if n in unclear else a
            for n, a in enumerate(picture.axes)
            if picture.shape[n] > 1 or a in "YX"
        )
        ways.append(f"--axes {axes} if they are {_WORDS[letter]}")
    how = " or ".join(ways) if ways else "--axes, such as ZCYX or CZYX"
    return (
        f"{picture.name}: shape {picture.shape}, and the file does not say what the {sizes} images of it are; "
        f"state {how}"
    )
