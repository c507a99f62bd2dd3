"""Whatever a user calls a volume, as a ``Volume``; and whether the network has seen its like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from medconv.errors import BadImageError, ConfigError
from medconv.io import ImageLayout, Volume, read_image, volume_from_array, volume_from_nibabel
from medconv.io.geometry import reorient_geometry
from medconv.lengths import edges_text
from medconv.planning import Plan

FAR_SPACING = 2.0
"""Spacing that differs by more than this factor along an axis is reported."""


def to_volume(
    x: Any, channels: int, spacing_mm: Sequence[float] | None = None, layout: ImageLayout | None = None
) -> Volume:
    """A volume from a path, several paths (one a channel), a nibabel image, or an array with its spacing.

    Args:
        x: See above.
        channels: Channels that the network expects.
        spacing_mm: Voxel edge lengths; for arrays only.
        layout: What the user states about axes, channels and pixel size of microscopy files.

    Raises:
        BadImageError: A file cannot be read, or the number of channels differs.
        ConfigError: The spacing of an array is missing, or one is given for something that has its own.
    """
    if isinstance(x, np.ndarray | Tensor):
        if spacing_mm is None:
            raise ConfigError("expected spacing_mm with an array, e.g. spacing_mm=(1.0, 1.0, 3.0); got none")
        array = x.detach().cpu().numpy() if isinstance(x, Tensor) else x
        volume = volume_from_array(array, spacing_mm)
        if volume.channels != channels:
            raise BadImageError(f"the array: expected {channels} channel(s), got {volume.channels}")
        return volume
    if spacing_mm is not None:
        raise ConfigError(f"spacing_mm is for arrays; a {type(x).__name__} carries its own, leave it out")
    if isinstance(x, str | Path):
        return read_image([x], channels=channels, layout=layout)
    if hasattr(x, "dataobj") and hasattr(x, "affine"):
        return volume_from_nibabel(x, channels=channels)
    if isinstance(x, Sequence) and all(isinstance(item, str | Path) for item in x):
        return read_image(x, channels=channels, layout=layout)
    raise ConfigError(
        f"expected a path, several paths, a nibabel image, or an array with spacing_mm; got "
        f"{type(x).__name__}"
    )


def spacing_note(volume: Volume, plan: Plan) -> list[str]:
    """One sentence if the volume's spacing is far from the one the network works at, else nothing.

    Where one of them counts pixels, there is nothing to compare.
    """
    if volume.geometry.unit != plan.unit:
        return []
    geometry = reorient_geometry(volume.geometry, volume.shape, plan.orientation)
    pairs = list(zip(geometry.spacing_mm, plan.spacing_mm, strict=False))
    factor = max(max(given / trained, trained / given) for given, trained in pairs)
    if factor <= FAR_SPACING:
        return []
    given, trained = (edges_text(side, plan.unit) for side in zip(*pairs, strict=True))
    return [
        f"{volume.name}: voxels of {given} are up to {factor:.1f} times off the {trained} that the "
        "network was trained at; look at the result before you use it"
    ]
