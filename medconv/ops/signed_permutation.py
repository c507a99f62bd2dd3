"""Signed permutation matrices: the rotations and reflections that need no interpolation on a grid."""

from __future__ import annotations

from functools import cache
from itertools import permutations, product

Element = tuple[tuple[int, ...], ...]
"""A rotation or reflection: rows of the signed permutation ``g`` that moves a voxel at ``v`` to ``g v``."""


def sources(g: Element) -> tuple[int, ...]:
    """For each axis, the axis that it takes its values from."""
    return tuple(next(j for j, v in enumerate(row) if v) for row in g)


@cache
def signed_permutations(spatial_dims: int) -> tuple[Element, ...]:
    """All of them: 8 in 2-D, 48 in 3-D."""
    axes = range(spatial_dims)
    return tuple(
        tuple(tuple(sign[i] * (j == order[i]) for j in axes) for i in axes)
        for order in permutations(axes)
        for sign in product((1, -1), repeat=spatial_dims)
    )


def multiply(g: Element, h: Element) -> Element:
    """The element that does ``h`` first and then ``g``."""
    columns = tuple(zip(*h, strict=True))
    return tuple(tuple(sum(a * b for a, b in zip(row, col, strict=True)) for col in columns) for row in g)


def determinant(g: Element) -> int:
    """1 for a rotation, -1 where a reflection is in it."""
    order = sources(g)
    swaps = sum(order[i] > order[j] for i in range(len(g)) for j in range(i + 1, len(g)))
    negatives = sum(sum(row) < 0 for row in g)
    return -1 if (swaps + negatives) % 2 else 1


def is_diagonal(g: Element) -> bool:
    """Whether every axis keeps its place, reversed or not."""
    return all(g[i][i] for i in range(len(g)))
