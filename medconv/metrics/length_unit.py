"""Millimetres of patients, micrometres of cells: how figures are told, and within what borders count as the same."""

from __future__ import annotations

from collections.abc import Sequence

from medconv.lengths import ShownUnit, shown_unit
from medconv.metrics.scores import known_score

TOLERANCE_MM = 1.0
"""Tolerance of the normalised surface Dice of volumes of patients where none is given."""

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
