"""Lengths as they are told: millimetres of patients, micrometres of cells, pixels where nobody knows their size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # it brings NumPy, which a command that only shows its help does without
    from medconv.types import LengthUnit

ShownUnit = Literal["mm", "µm"]
"""What lengths are told in. Tables in files stay in mm and ml."""

MICROSCOPIC_MM = 0.02
"""Below so long a finest voxel edge, what is seen are cells."""


def shown_unit(finest_mm: float) -> ShownUnit:
    """The unit for images of this finest voxel edge; mm where that is not known (nan).

    Example:
        >>> shown_unit(0.8), shown_unit(0.00065), shown_unit(float("nan"))
        ('mm', 'µm', 'mm')
    """
    return "µm" if finest_mm < MICROSCOPIC_MM else "mm"


def volume_unit(unit: ShownUnit) -> str:
    """What volumes are told in beside such lengths.

    Example:
        >>> volume_unit("mm"), volume_unit("µm")
        ('ml', 'µm³')
    """
    return "ml" if unit == "mm" else "µm³"


def length_in(length_mm: float, unit: ShownUnit) -> str:
    """A length with its unit.

    Example:
        >>> length_in(1.0, "mm"), length_in(0.0013, "µm")
        ('1 mm', '1.3 µm')
    """
    return f"{length_mm * (1.0 if unit == 'mm' else 1e3):.6g} {unit}"


def edges_text(edges: Sequence[float], unit: LengthUnit = "mm") -> str:
    """Edges of a voxel with their unit: mm, µm where what is seen are cells, or pixels.

    Args:
        edges: In mm, or in pixels where nobody says how large these are.
        unit: Of ``edges``.

    Example:
        >>> edges_text((0.8, 0.8, 2.5)), edges_text((0.00065, 0.00065)), edges_text((1.0, 1.0), "px")
        ('0.8 × 0.8 × 2.5 mm', '0.65 × 0.65 µm', '1 × 1 px')
    """
    shown = shown_unit(min(edges)) if unit == "mm" else unit
    factor = 1e3 if shown == "µm" else 1.0
    return f"{' × '.join(f'{edge * factor:.5g}' for edge in edges)} {shown}"
