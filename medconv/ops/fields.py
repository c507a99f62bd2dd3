"""Fields over a group: maps with one channel for each orientation, and what a rotation does to them.

A map ``(B, C |G|, *S)`` holds ``C`` fields; the channels of a field are neighbours, one for each element of the
group, in the order in which the group iterates.

Source: Cohen & Welling, "Group Equivariant Convolutional Networks", ICML 2016.
"""

from __future__ import annotations

from itertools import product
from typing import Literal, get_args

import torch
from torch import Tensor

from medconv.errors import ConfigError, ShapeError
from medconv.ops.signed_permutation import Element, multiply
from medconv.ops.symmetry import SymmetryGroup, act

PoolOver = Literal["max", "mean"]


def turn_fields(x: Tensor, element: Element, group: SymmetryGroup) -> Tensor:
    """Rotate or reflect fields: voxels change places, and so do the orientations at each voxel.

    Args:
        x: ``(B, C |G|, *S)``.
        element: An element of ``group``.
        group: What the fields are over.

    Raises:
        ShapeError: The channels are no whole fields.
    """
    turned = act(split_fields(x, group.order).flatten(1, 2), element)
    order = torch.tensor(_quotients(group)[list(group).index(element)], device=x.device)
    return turned.unflatten(1, (-1, group.order)).index_select(2, order).flatten(1, 2)


def pool_fields(x: Tensor, orientations: int, over: PoolOver = "max") -> Tensor:
    """One channel a field: the largest, or the mean, over its orientations; a rotation then only moves voxels.

    Args:
        x: ``(B, C |G|, *S)``.
        orientations: ``|G|``.
        over: ``"max"`` or ``"mean"``.

    Raises:
        ShapeError: The channels are no whole fields.
        ConfigError: Another pooling.

    Example:
        >>> pool_fields(torch.tensor([1.0, 4.0, 2.0, 2.0]).reshape(1, 4, 1, 1), 2).flatten()
        tensor([4., 2.])
    """
    if over not in get_args(PoolOver):
        raise ConfigError(f"expected to pool over fields by 'max' or 'mean', got {over!r}")
    fields = split_fields(x, orientations)
    return fields.amax(dim=2) if over == "max" else fields.mean(dim=2)


def split_fields(x: Tensor, orientations: int) -> Tensor:
    """``(B, C |G|, *S)`` to ``(B, C, |G|, *S)``.

    Raises:
        ShapeError: The channels are no whole fields.
    """
    if x.shape[1] % orientations:
        raise ShapeError(
            f"expected channels in fields of {orientations} orientations, got {x.shape[1]} channels"
        )
    return x.unflatten(1, (-1, orientations))


def turned_taps(kernel_size: tuple[int, ...], group: SymmetryGroup) -> Tensor:
    """``(|G|, prod(kernel_size))``: the number of the tap at ``g⁻¹ δ``, for each element and tap ``δ``."""
    taps = list(product(*([i - (k - 1) / 2 for i in range(k)] for k in kernel_size)))
    number = {tap: i for i, tap in enumerate(taps)}
    return torch.tensor([[number[_apply(_inverse(g), tap)] for tap in taps] for g in group])


def turned_orientations(group: SymmetryGroup) -> Tensor:
    """``(|G|, |G|)``: the number of the element ``g⁻¹ h``."""
    return torch.tensor(_quotients(group))


def _quotients(group: SymmetryGroup) -> list[list[int]]:
    number = {g: i for i, g in enumerate(group)}
    return [[number[multiply(_inverse(g), h)] for h in group] for g in group]


def _inverse(g: Element) -> Element:
    return tuple(zip(*g, strict=True))


def _apply(g: Element, place: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, place, strict=True)) + 0.0 for row in g)
