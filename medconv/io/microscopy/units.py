"""Units of length by the names that image files use."""

from __future__ import annotations

_UM_PER = {
    "pm": 1e-6,
    "picometer": 1e-6,
    "å": 1e-4,
    "angstrom": 1e-4,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "m": 1e6,
    "meter": 1e6,
    "inch": 25_400.0,
}
# the Greek letter, and how ImageJ writes the sign
_MICRO_SIGNS = ("μ", "\\u00B5", "\\u00b5", "\\u03BC", "\\u03bc")


def um_per(unit: str) -> float:
    """Micrometres in a unit; 0 for what is no unit of length, such as ``pixel``.

    Example:
        >>> um_per("nm"), um_per("μm"), um_per("pixel")
        (0.001, 1.0, 0.0)
    """
    plain = unit.strip().strip('"')
    for sign in _MICRO_SIGNS:
        plain = plain.replace(sign, "µ")
    return _UM_PER.get(plain.lower(), 0.0)
