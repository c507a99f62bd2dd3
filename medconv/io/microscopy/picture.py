"""An image file that is open, not read: what it says about itself, and how to get at its pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

UNKNOWN = "?"
"""Letter of an axis of which the file does not say what it is."""


UPRIGHT = 1
"""The value of the tag Orientation, of EXIF and TIFF, that pixels are stored as they are to be seen."""


def turned_text(path: Path, turn: int) -> str:
    """Why a file that is to be shown otherwise than it is stored is refused."""
    return (
        f"{path}: expected pixels stored upright, the file says that they are to be shown turned (orientation {turn}), "
        "which some programs do and others do not, so labels may lie otherwise than the image; save it upright"
    )


@dataclass(frozen=True, eq=False)
class Picture:
    """One image as its file describes it.

    Args:
        path: Of the file.
        shape: As stored.
        axes: One of ``T C Z Y X`` or ``"?"`` an axis.
        dtype: Of the pixels.
        load: Gives the pixels as stored: an array, or one that is read by pieces.
        size_um: Edge of a pixel in µm along ``Y``, ``X``, ``Z``, as far as the file says.
        palette: ``(N, 3)`` red, green and blue, 0 to 255, of each value; ``None``: values are intensities.
        has_alpha: Whether the last channel says how opaque each pixel is.
        remarks: What the user should know.
        label_names: Of the labels, where it is a label map that says them.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    dtype: np.dtype[Any]
    load: Callable[[], Any]
    size_um: Mapping[str, float] = field(default_factory=dict)
    palette: npt.NDArray[np.uint8] | None = None
    has_alpha: bool = False
    remarks: tuple[str, ...] = ()
    label_names: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What error messages call it."""
        return str(self.path)
