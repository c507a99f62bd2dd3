"""Rotations and reflections that map a voxel grid onto itself, as signed permutation matrices.

There are 8 of them in 2-D (``D4``, the square) and 48 in 3-D (``Oh``, the cube). On the grid they are exact:
no interpolation, only axes exchanged and reversed. Names are Schoenflies symbols; two groups of the same
type about different axes share a name but are not equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

from torch import Tensor

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError, ShapeError
from medconv.ndim import check_spatial_dims, to_tuple
from medconv.ops.point_groups import PLANE, SPACE, name_of
from medconv.ops.signed_permutation import Element, multiply, signed_permutations, sources
from medconv.types import IntOrInts

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
    rules = PLANE if check_spatial_dims(spatial_dims) == 2 else SPACE
    if name not in rules:
        raise ConfigError(
            f"no {spatial_dims}-D symmetry group {name!r}{did_you_mean(name, rules)}. All: {', '.join(rules)}"
        )
    if axis not in range(spatial_dims):
        raise ConfigError(f"expected axis from 0 to {spatial_dims - 1}, got {axis}")
    return group_of(frozenset(g for g in signed_permutations(spatial_dims) if rules[name](g, axis)))


@cache
def group_of(elements: frozenset[Element]) -> SymmetryGroup:
    """The group with exactly these elements, under its right name.

    Raises:
        ConfigError: The elements are no signed permutations or not closed under products.
    """
    is_on_grid = any(elements <= {*signed_permutations(dims)} for dims in (2, 3))
    is_closed = is_on_grid and all(multiply(g, h) in elements for g in elements for h in elements)
    if not elements or not is_closed:
        raise ConfigError(
            f"expected signed permutation matrices that are closed under products, "
            f"got {len(elements)} elements that are not"
        )
    return SymmetryGroup(name_of(elements), elements)


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
            for i, j in enumerate(sources(g))
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
    moved = x.permute(0, 1, *(2 + source for source in sources(element)))
    reversed_axes = [2 + i for i, row in enumerate(element) if sum(row) < 0]
    return moved.flip(reversed_axes) if reversed_axes else moved
