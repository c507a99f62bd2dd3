"""The grid of a microscopy image: where its pixels lie, and how large they are if anyone says so."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medconv.io.layout import ImageLayout
from medconv.io.microscopy.picture import Picture
from medconv.io.nifti.header import Header, header_on_grid
from medconv.types import FloatArray, LengthUnit

MM_PER_UM = 1e-3
_NOTICEABLE = 0.01
"""Share by which a stated size may differ from the file's before the user is told."""


def header_of_picture(
    picture: Picture, spatial: Sequence[int], channels: int, layout: ImageLayout, *, tell: bool = False
) -> Header:
    """Shape and geometry: rows grow downwards, columns to the right, slices upwards.

    Args:
        picture: The open file.
        spatial: Rows, columns, slices.
        channels: ``C`` that will be read.
        layout: What the user states.
        tell: Whether to warn of sizes that contradict or are missing.

    Raises:
        BadImageError: An axis without pixels.
    """
    spacing, unit = pixel_spacing(picture, spatial[2], layout, tell=tell)
    header = header_on_grid(upright_affine(spacing), spatial, picture.name, channels)
    geometry = replace(header.geometry, spacing_mm=spacing, unit=unit, has_thickness=spatial[2] > 1)
    if unit == "px":
        header.raw.set_xyzt_units(0)
    return replace(header, geometry=geometry)


def pixel_spacing(
    picture: Picture, slices: int, layout: ImageLayout, *, tell: bool = False
) -> tuple[tuple[float, float, float], LengthUnit]:
    """Edges of a pixel along rows, columns and slices, in mm or, where nobody says how large it is, in pixels.

    A single image is as thick as it likes: 1 of the unit.
    """
    wanted = "YXZ" if slices > 1 else "YX"
    sizes = {axis: layout.size_um(axis) or picture.size_um.get(axis) for axis in wanted}
    known = {axis: size for axis, size in sizes.items() if size is not None}
    if tell:
        _tell(picture, layout, wanted, known)
    if len(known) < len(wanted):
        return (1.0, 1.0, 1.0), "px"
    y, x = known["Y"] * MM_PER_UM, known["X"] * MM_PER_UM
    return (y, x, known["Z"] * MM_PER_UM if slices > 1 else 1.0), "mm"


def upright_affine(spacing: Sequence[float]) -> FloatArray:
    """Pixel index (row, column, slice) to length, such that viewers of volumes show the image as it was taken."""
    affine = np.zeros((4, 4))
    affine[1, 0], affine[0, 1], affine[2, 2], affine[3, 3] = -spacing[0], spacing[1], spacing[2], 1
    return affine


def in_um(length_mm: float) -> float:
    """A length in µm, as it was written before it became mm.

    Example:
        >>> in_um(0.33 * 1e-3)
        0.33
    """
    return float(f"{length_mm / MM_PER_UM:.12g}")


def _tell(picture: Picture, layout: ImageLayout, wanted: str, known: dict[str, float]) -> None:
    for axis in wanted:
        stated, own = layout.size_um(axis), picture.size_um.get(axis)
        if stated and own and abs(stated - own) > _NOTICEABLE * own:
            warnings.warn(
                f"{picture.name}: the file says {own:.4g} µm along {axis}, the stated {stated:.4g} µm is taken",
                stacklevel=4,
            )
    if known and len(known) < len(wanted):
        missing = ", ".join(axis for axis in wanted if axis not in known)
        warnings.warn(
            f"{picture.name}: the pixel size along {missing} is not known, so lengths are in pixels; state all sizes, "
            f"such as 0.65 0.65 2.0 µm for rows, columns and slices",
            stacklevel=4,
        )
