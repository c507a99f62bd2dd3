"""Rotations and reflections that map a voxel grid onto itself, as signed permutation matrices.

There are 8 of them in 2-D (``D4``, the square) and 48 in 3-D (``Oh``, the cube). On the grid they are exact:
no interpolation, only axes exchanged and reversed. Names are Schoenflies symbols; two groups of the same
type about different axes share a name but are not equal.

Source: International Tables for Crystallography, Volume A, 2016 (point groups by kinds of operation).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations, product

from torch import Tensor

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, ShapeError
from medconv.ndim import check_spatial_dims, to_tuple
from medconv.types import IntOrInts

Element = tuple[tuple[int, ...], ...]
"""A rotation or reflection: rows of the signed permutation ``g`` that moves a voxel at ``v`` to ``g v``."""

SPACING_TOLERANCE = 1e-3
"""Relative difference up to which two voxel edges count as equal."""


@dataclass(frozen=True)
class SymmetryGroup:
    """A group of rotations and reflections; build it with ``named_group``, ``full_group`` or ``group_of``.

    Args:
        name: Schoenflies symbol. It takes no part in comparisons: the elements decide.
        elements: The signed permutation matrices, closed under products.

    Example:
        >>> square = full_group(2)
        >>> square.name, square.order, named_group("C4", 2) <= square
        ('D4', 8, True)
        >>> (named_group("C4", 2) & named_group("D2", 2)).name
        'C2'
    """

    name: str = field(compare=False)
    elements: frozenset[Element]

    @property
    def order(self) -> int:
        """How many elements the group has."""
        return len(self.elements)

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(next(iter(self.elements)))

    def __and__(self, other: SymmetryGroup) -> SymmetryGroup:
        if self.spatial_dims != other.spatial_dims:
            raise ConfigError(
                f"expected two groups of the same space, got {self.name} in {self.spatial_dims}-D "
                f"and {other.name} in {other.spatial_dims}-D"
            )
        return group_of(self.elements & other.elements)

    def __le__(self, other: SymmetryGroup) -> bool:
        return self.elements <= other.elements

    def __iter__(self) -> Iterator[Element]:
        return iter(sorted(self.elements, reverse=True))

    def __len__(self) -> int:
        return self.order


def full_group(spatial_dims: int) -> SymmetryGroup:
    """All rotations and reflections of the grid: ``D4`` (8) in 2-D, ``Oh`` (48) in 3-D."""
    return named_group("D4" if check_spatial_dims(spatial_dims) == 2 else "Oh", spatial_dims)


def named_group(name: str, spatial_dims: int, axis: int = 0) -> SymmetryGroup:
    """The group with this Schoenflies symbol.

    In 2-D ``Cn`` are rotations and ``Dn`` add reflections. In 3-D ``Cn`` rotate about ``axis``; ``v`` adds
    the mirrors that contain it, ``h`` the mirror across it, ``D`` the half-turns at right angles to it.

    Args:
        name: ``C1 C2 C4 D2 D4`` in 2-D; ``C1 C2 C4 C4h C4v D2 D2h D4 D4h O Oh`` in 3-D.
        spatial_dims: 2 or 3.
        axis: The special axis in 3-D, 0 to 2: the one that keeps its place. Without effect where the group
            has none (``C1 D2 D2h O Oh``) and in 2-D.

    Raises:
        ConfigError: No such group in this dimension, or no such axis.

    Example:
        >>> named_group("C4v", 3, axis=2).order, named_group("O", 3).order
        (8, 24)
    """
    rules = _PLANE if check_spatial_dims(spatial_dims) == 2 else _SPACE
    if name not in rules:
        raise ConfigError(
            f"no {spatial_dims}-D symmetry group {name!r}{did_you_mean(name, rules)}. All: {', '.join(rules)}"
        )
    if axis not in range(spatial_dims):
        raise ConfigError(f"expected axis from 0 to {spatial_dims - 1}, got {axis}")
    return group_of(frozenset(g for g in _signed_permutations(spatial_dims) if rules[name](g, axis)))


@cache
def group_of(elements: frozenset[Element]) -> SymmetryGroup:
    """The group with exactly these elements, under its right name.

    Raises:
        ConfigError: The elements are no signed permutations or not closed under products.
    """
    is_on_grid = any(elements <= {*_signed_permutations(dims)} for dims in (2, 3))
    is_closed = is_on_grid and all(_multiply(g, h) in elements for g in elements for h in elements)
    if not elements or not is_closed:
        raise ConfigError(
            f"expected signed permutation matrices that are closed under products, "
            f"got {len(elements)} elements that are not"
        )
    return SymmetryGroup(_name_of(elements), elements)


def admissible(
    group: SymmetryGroup,
    spacing_mm: Sequence[float],
    kernel_size: IntOrInts = 1,
    stride: IntOrInts = 1,
    dilation: IntOrInts = 1,
) -> SymmetryGroup:
    """The part of ``group`` that a layer on this grid can have.

    An element stays if the axes that it exchanges have the same voxel edge (to one in a thousand), kernel
    size, stride and dilation. Reversing an axis is always possible on the grid.

    Args:
        group: What is wanted.
        spacing_mm: Voxel edges, one an axis, in mm.
        kernel_size: Taps per axis.
        stride: Step per axis.
        dilation: Distance between taps per axis, in voxels.

    Example:
        >>> admissible(full_group(3), (3.0, 1.0, 1.0), 3).name
        'D4h'
        >>> admissible(full_group(3), (3.0, 1.0, 0.5), 3).name
        'D2h'
    """
    dims = group.spatial_dims
    spacing = to_tuple(spacing_mm, dims, "spacing_mm")
    counts = [
        to_tuple(v, dims, n)
        for v, n in ((kernel_size, "kernel_size"), (stride, "stride"), (dilation, "dilation"))
    ]

    def keeps(g: Element) -> bool:
        return all(
            abs(spacing[i] - spacing[j]) <= SPACING_TOLERANCE * max(spacing[i], spacing[j])
            and all(c[i] == c[j] for c in counts)
            for i, j in enumerate(_sources(g))
        )

    return group_of(frozenset(g for g in group.elements if keeps(g)))


def act(x: Tensor, element: Element) -> Tensor:
    """Rotate or reflect the spatial axes of ``x``: what lay at ``v`` (from the centre) lies at ``g v``.

    Args:
        x: ``(B, C, *S)``; kernels ``(O, I, *kernel_size)`` as well.
        element: A signed permutation of ``*S``.

    Raises:
        ShapeError: ``x`` has another number of spatial axes than the element.

    Example:
        >>> import torch
        >>> act(torch.tensor([[[[1, 2], [3, 4]]]]), ((0, -1), (1, 0)))  # a quarter turn
        tensor([[[[2, 4],
                  [1, 3]]]])
    """
    if x.dim() != len(element) + 2:
        axes = "H, W" if len(element) == 2 else "D, H, W"
        raise ShapeError(f"expected (B, C, {axes}) for a {len(element)}-D element, got {tuple(x.shape)}")
    moved = x.permute(0, 1, *(2 + source for source in _sources(element)))
    reversed_axes = [2 + i for i, row in enumerate(element) if sum(row) < 0]
    return moved.flip(reversed_axes) if reversed_axes else moved


def _sources(g: Element) -> tuple[int, ...]:
    """For each axis, the axis that it takes its values from."""
    return tuple(next(j for j, v in enumerate(row) if v) for row in g)


@cache
def _signed_permutations(spatial_dims: int) -> tuple[Element, ...]:
    axes = range(spatial_dims)
    return tuple(
        tuple(tuple(sign[i] * (j == order[i]) for j in axes) for i in axes)
        for order in permutations(axes)
        for sign in product((1, -1), repeat=spatial_dims)
    )


def _multiply(g: Element, h: Element) -> Element:
    columns = tuple(zip(*h, strict=True))
    return tuple(tuple(sum(a * b for a, b in zip(row, col, strict=True)) for col in columns) for row in g)


def _determinant(g: Element) -> int:
    order = _sources(g)
    swaps = sum(order[i] > order[j] for i in range(len(g)) for j in range(i + 1, len(g)))
    negatives = sum(sum(row) < 0 for row in g)
    return -1 if (swaps + negatives) % 2 else 1


def _is_diagonal(g: Element) -> bool:
    return all(g[i][i] for i in range(len(g)))


Rule = Callable[[Element, int], bool]
"""Whether an element belongs to the group with this special axis."""

_PLANE: dict[str, Rule] = {
    "C1": lambda g, _: _is_diagonal(g) and min(g[0][0], g[1][1]) > 0,
    "C2": lambda g, _: _is_diagonal(g) and _determinant(g) > 0,
    "C4": lambda g, _: _determinant(g) > 0,
    "D2": lambda g, _: _is_diagonal(g),
    "D4": lambda _, __: True,
}

_SPACE: dict[str, Rule] = {
    "C1": lambda g, _: _is_diagonal(g) and min(g[i][i] for i in range(3)) > 0,
    "C2": lambda g, a: _is_diagonal(g) and _determinant(g) > 0 and g[a][a] > 0,
    "C4": lambda g, a: g[a][a] > 0 and _determinant(g) > 0,
    "C4h": lambda g, a: g[a][a] * _determinant(g) > 0,
    "C4v": lambda g, a: g[a][a] > 0,
    "D2": lambda g, _: _is_diagonal(g) and _determinant(g) > 0,
    "D2h": lambda g, _: _is_diagonal(g),
    "D4": lambda g, a: g[a][a] != 0 and _determinant(g) > 0,
    "D4h": lambda g, a: g[a][a] != 0,
    "O": lambda g, _: _determinant(g) > 0,
    "Oh": lambda _, __: True,
}

# In 3-D the numbers of half-turns (2), third-turns (3), quarter-turns (4), inversions (i), mirrors (m) and
# quarter-turns with reflection (S4) tell all 32 crystallographic point groups apart.
_SPACE_NAMES: dict[str, str] = {
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


def _name_of(elements: frozenset[Element]) -> str:
    if len(next(iter(elements))) == 2:
        reflections = sum(_determinant(g) < 0 for g in elements)
        return f"D{reflections}" if reflections else f"C{len(elements)}"
    kinds = Counter(_OPERATION[_determinant(g), sum(g[i][i] for i in range(3))] for g in elements)
    return _SPACE_NAMES["".join(kind * kinds[kind] for kind in "234im6S")]
