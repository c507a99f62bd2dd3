"""How large something is, in the unit that fits: ml, µm², µm³ or pixels."""

from __future__ import annotations

from medconv.types import Geometry, LengthUnit

_UM_PER_MM = 1000.0
_UM3_PER_ML = 1e12
_SMALL_ML = 1e-6
"""Below so much, volumes are those of cells."""
_SMALL_MM = 0.2
"""Below so much, lengths are those of cells."""


def size_text(voxels: int, geometry: Geometry) -> str:
    """The size of a structure: its volume, of a single image its area, and pixels where nobody knows more.

    Args:
        voxels: How many.
        geometry: Of the image.

    Example:
        >>> import numpy as np
        >>> size_text(40_314, Geometry(np.eye(4), (1.0, 1.0, 1.0), "PRS", "px"))
        '40,314 px'
        >>> size_text(1000, Geometry(np.eye(4), (0.0005, 0.0005, 1.0), "PRS", has_thickness=False))
        '250 µm²'
        >>> size_text(3850, Geometry(np.eye(4), (1.0, 1.0, 1.0), "RAS"))
        '3.85 ml'
    """
    if geometry.unit == "px":
        return f"{voxels:,} px"
    if geometry.voxel_ml is None:
        rows, columns = (size * _UM_PER_MM for size in geometry.spacing_mm[:2])
        return f"{_rounded(voxels * rows * columns)} µm²"
    volume_ml = voxels * geometry.voxel_ml
    if 0 < volume_ml < _SMALL_ML:
        return f"{_rounded(volume_ml * _UM3_PER_ML)} µm³"
    return f"{_rounded(volume_ml)} ml"


def length_text(length: float, unit: LengthUnit = "mm") -> str:
    """A round length in mm, µm or pixels.

    Example:
        >>> length_text(50.0), length_text(0.05), length_text(50.0, "px")
        ('50 mm', '50 µm', '50 px')
    """
    if unit == "mm" and length < _SMALL_MM:
        return f"{length * _UM_PER_MM:g} µm"
    return f"{length:g} {unit}"


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
