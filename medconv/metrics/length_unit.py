"""Millimetres of patients, micrometres of cells: how figures are told, and within what borders count as the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from medconv.metrics.scores import known_score
from medconv.types import LengthUnit

ShownUnit = Literal["mm", "µm"]
"""What lengths are told in. Tables in files stay in mm and ml."""

TOLERANCE_MM = 1.0
"""Tolerance of the normalised surface Dice of volumes of patients where none is given."""

MICROSCOPIC_MM = 0.02
"""Below so long a finest voxel edge, what is seen are cells."""

_TOLERANCE_VOX = 2
_FACTORS = {"mm": ("µm", 1e3), "ml": ("µm³", 1e12)}


def default_tolerance_mm(spacing_mm: Sequence[float]) -> float:
    """1 mm in volumes of patients; in microscopy, whose scales differ by powers of ten, two of the finest voxel edges.

    Args:
        spacing_mm: Voxel edge lengths of the image.

    Example:
        >>> default_tolerance_mm((0.7, 0.7, 2.0)), default_tolerance_mm((0.0005, 0.0005))
        (1.0, 0.001)
    """
    finest_mm = float(min(spacing_mm))
    return TOLERANCE_MM if shown_unit(finest_mm) == "mm" else _TOLERANCE_VOX * finest_mm


def shown_unit(finest_mm: float) -> ShownUnit:
    """The unit for images of this finest voxel edge; mm where that is not known (nan).

    Example:
        >>> shown_unit(0.8), shown_unit(0.00065), shown_unit(float("nan"))
        ('mm', 'µm', 'mm')
    """
    return "µm" if finest_mm < MICROSCOPIC_MM else "mm"


def title_in(name: str, unit: ShownUnit) -> str:
    """The title of a score, in the unit.

    Example:
        >>> title_in("hd95_mm", "µm"), title_in("volume_difference_ml", "µm"), title_in("dice", "µm")
        ('HD95 µm', 'volume difference µm³', 'Dice')
    """
    title, own = known_score(name).title, name[-2:]
    return title if unit == "mm" or own not in _FACTORS else title.removesuffix(own) + _FACTORS[own][0]


def factor_in(name: str, unit: ShownUnit) -> float:
    """What a value of a score is multiplied by to be told in the unit.

    Example:
        >>> factor_in("hd95_mm", "µm"), factor_in("dice", "µm"), factor_in("hd95_mm", "mm")
        (1000.0, 1.0, 1.0)
    """
    return 1.0 if unit == "mm" else _FACTORS.get(name[-2:], ("", 1.0))[1]


def volume_unit(unit: ShownUnit) -> str:
    """What volumes are told in beside such lengths.

    Example:
        >>> volume_unit("mm"), volume_unit("µm")
        ('ml', 'µm³')
    """
    return "ml" if unit == "mm" else _FACTORS["ml"][0]


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
