"""Mirrors and quarter-turns of a patch: asked for each, a network answers without a preferred direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import Tensor

from medconv.errors import ConfigError
from medconv.lengths import edges_text
from medconv.ops.signed_permutation import Element, multiply, signed_permutations, sources
from medconv.planning import Plan


@dataclass(frozen=True)
class Turn:
    """A rotation or reflection that only permutes voxels, so that it is undone exactly.

    Args:
        axes: For each spatial axis of the result, the axis of the input that it comes from.
        flips: Whether it is then reversed.

    Example:
        >>> import torch
        >>> quarter, x = Turn((1, 0), (False, True)), torch.arange(6).view(1, 2, 3)
        >>> quarter.apply(x)[0].tolist(), torch.equal(quarter.undo(quarter.apply(x)), x)
        ([[3, 0], [4, 1], [5, 2]], True)
    """

    axes: tuple[int, ...]
    flips: tuple[bool, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Turn ``(C, *S)``."""
        return _flip(x.permute(0, *(axis + 1 for axis in self.axes)), self.flips)

    def undo(self, y: Tensor) -> Tensor:
        """Turn ``(K, *S)`` back."""
        back = sorted(range(len(self.axes)), key=self.axes.__getitem__)
        return _flip(y, self.flips).permute(0, *(axis + 1 for axis in back))


def identity_turn(spatial_dims: int) -> Turn:
    """The turn that changes nothing."""
    return Turn(tuple(range(spatial_dims)), (False,) * spatial_dims)


def all_turns(
    spatial_dims: int, mirrored_axes: Iterable[int] = (), planes: Iterable[tuple[int, int]] = ()
) -> tuple[Turn, ...]:
    """Everything that mirrors and quarter-turns combine to, the identity first.

    Args:
        spatial_dims: 2 or 3.
        mirrored_axes: Axes that may be reversed.
        planes: Pairs of axes that may be turned by 90° into each other.

    Raises:
        ConfigError: An axis that does not exist or is given twice, or a plane of one axis.

    Example:
        >>> len(all_turns(3, (0, 1, 2))), len(all_turns(3, (), [(0, 1)])), len(all_turns(2, (0,), [(0, 1)]))
        (8, 4, 8)
    """
    mirrored, axes = tuple(mirrored_axes), range(spatial_dims)
    if len(set(mirrored)) != len(mirrored) or any(axis not in axes for axis in mirrored):
        raise ConfigError(f"expected different mirror axes from 0 to {spatial_dims - 1}, got {mirrored}")
    planes = tuple(planes)
    if any(len({a, b} & set(axes)) != 2 for a, b in planes):
        raise ConfigError(f"expected planes of two different axes from 0 to {spatial_dims - 1}, got {planes}")
    generators = [_mirror(spatial_dims, axis) for axis in mirrored]
    generators += [_quarter(spatial_dims, a, b) for a, b in planes]
    group = {_identity(spatial_dims)}
    while new := {multiply(g, h) for g in generators for h in group} - group:
        group |= new
    ordered = [g for g in signed_permutations(spatial_dims) if g in group]
    return tuple(Turn(sources(g), tuple(sum(row) < 0 for row in g)) for g in ordered)


def square_planes(
    spacing_mm: Sequence[float], patch_size: Sequence[int], free_axes: Iterable[int]
) -> tuple[tuple[int, int], ...]:
    """Pairs of axes along which voxels and patches are equally long, so that a quarter-turn changes neither.

    Args:
        spacing_mm: The spacing that the network works at.
        patch_size: Of the network.
        free_axes: Axes without named sides, from ``mirror_axes``.

    Example:
        >>> square_planes((1.0, 1.0, 3.0), (64, 64, 64), (0, 1, 2))
        ((0, 1),)
    """
    return tuple(
        (a, b)
        for a, b in combinations(sorted(free_axes), 2)
        if abs(spacing_mm[a] / spacing_mm[b] - 1) < 1e-3 and patch_size[a] == patch_size[b]
    )


def averaged_turns(
    plan: Plan, mirrored_axes: Iterable[int], free_axes: Iterable[int] | None = None
) -> tuple[Turn, ...]:
    """The turned copies of a tile that a network of a plan is averaged over.

    Args:
        plan: Of the network.
        mirrored_axes: Axes to mirror.
        free_axes: Axes without named sides, in whose square planes tiles are rotated too; ``None``: in none.

    Raises:
        ConfigError: There is no plane to rotate in.
    """
    planes = () if free_axes is None else square_planes(plan.spacing_mm, plan.patch_size, free_axes)
    if free_axes is not None and not planes:
        raise ConfigError(
            "expected a plane in which voxels and patch are square to rotate in, got spacing "
            f"{edges_text(plan.spacing_mm, plan.unit)} and patch {plan.patch_size}, or labels that name sides; "
            "leave rotate out"
        )
    return all_turns(plan.spatial_dims, mirrored_axes, planes)


def _flip(x: Tensor, flips: tuple[bool, ...]) -> Tensor:
    dims = [axis for axis, flip in enumerate(flips, start=1) if flip]
    return x.flip(dims) if dims else x


def _identity(spatial_dims: int) -> Element:
    return tuple(tuple(int(i == j) for j in range(spatial_dims)) for i in range(spatial_dims))


def _mirror(spatial_dims: int, axis: int) -> Element:
    return tuple(
        tuple((-1 if i == axis else 1) * (i == j) for j in range(spatial_dims)) for i in range(spatial_dims)
    )


def _quarter(spatial_dims: int, a: int, b: int) -> Element:
    """Axis ``a`` takes its values from ``b``, axis ``b`` those of ``a`` reversed."""
    rows = [list(row) for row in _identity(spatial_dims)]
    rows[a], rows[b] = rows[b], [-n for n in rows[a]]
    return tuple(tuple(row) for row in rows)
