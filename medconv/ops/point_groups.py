"""Schoenflies symbols: which elements a named group has, and which name a set of elements has.

Source: International Tables for Crystallography, Volume A, 2016 (point groups by kinds of operation).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from medconv.ops.signed_permutation import Element, determinant, is_diagonal

Rule = Callable[[Element, int], bool]
"""Whether an element belongs to the group with this special axis."""

PLANE: dict[str, Rule] = {
    "C1": lambda g, _: is_diagonal(g) and min(g[0][0], g[1][1]) > 0,
    "C2": lambda g, _: is_diagonal(g) and determinant(g) > 0,
    "C4": lambda g, _: determinant(g) > 0,
    "D2": lambda g, _: is_diagonal(g),
    "D4": lambda _, __: True,
}

SPACE: dict[str, Rule] = {
    "C1": lambda g, _: is_diagonal(g) and min(g[i][i] for i in range(3)) > 0,
    "C2": lambda g, a: is_diagonal(g) and determinant(g) > 0 and g[a][a] > 0,
    "C4": lambda g, a: g[a][a] > 0 and determinant(g) > 0,
    "C4h": lambda g, a: g[a][a] * determinant(g) > 0,
    "C4v": lambda g, a: g[a][a] > 0,
    "D2": lambda g, _: is_diagonal(g) and determinant(g) > 0,
    "D2h": lambda g, _: is_diagonal(g),
    "D4": lambda g, a: g[a][a] != 0 and determinant(g) > 0,
    "D4h": lambda g, a: g[a][a] != 0,
    "O": lambda g, _: determinant(g) > 0,
    "Oh": lambda _, __: True,
}

# In 3-D the numbers of half-turns (2), third-turns (3), quarter-turns (4), inversions (i), mirrors (m), and
# of sixth-turns (6) and quarter-turns (S) joined to a reflection, tell all crystallographic groups apart.
_NAMES: dict[str, str] = {
    "": "C1",
    "2": "C2",
    "i": "Ci",
    "m": "Cs",
    "33": "C3",
    "222": "D2",
    "2mm": "C2v",
    "2im": "C2h",
    "244": "C4",
    "2SS": "S4",
    "22233": "D3",
    "33mmm": "C3v",
    "33i66": "S6",
    "222immm": "D2h",
    "2222244": "D4",
    "244mmmm": "C4v",
    "222mmSS": "D2d",
    "244imSS": "C4h",
    "22233immm66": "D3d",
    "22233333333": "T",
    "2222244immmmmSS": "D4h",
    "222" + "3" * 8 + "immm" + "6" * 8: "Th",
    "222" + "3" * 8 + "mmmmmm" + "S" * 6: "Td",
    "2" * 9 + "3" * 8 + "4" * 6: "O",
    "2" * 9 + "3" * 8 + "4" * 6 + "i" + "m" * 9 + "6" * 8 + "S" * 6: "Oh",
}

_OPERATION = {
    (1, 3): "",
    (1, -1): "2",
    (1, 0): "3",
    (1, 1): "4",
    (-1, -3): "i",
    (-1, 1): "m",
    (-1, 0): "6",
    (-1, -1): "S",
}
"""(determinant, trace) of a 3-D element -> its kind."""


def name_of(elements: frozenset[Element]) -> str:
    """Schoenflies symbol of a group, whatever its axes."""
    if len(next(iter(elements))) == 2:
        reflections = sum(determinant(g) < 0 for g in elements)
        return f"D{reflections}" if reflections else f"C{len(elements)}"
    kinds = Counter(_OPERATION[determinant(g), sum(g[i][i] for i in range(3))] for g in elements)
    return _NAMES["".join(kind * kinds[kind] for kind in "234im6S")]
