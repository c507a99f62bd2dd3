"""Test-time augmentation by mirrors: ask the network once for every flip and average the answers."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import torch
from torch import Tensor

from medconv.errors import ConfigError
from medconv.inference.window import Network


def mirror_average(network: Network, x: Tensor, axes: Iterable[int]) -> Tensor:
    r"""Mean of a network's output over all ``2^len(axes)`` flips of its input.

    .. math:: \bar f(x) = 2^{-n} \sum_{A \subseteq axes} F_A^{-1} f(F_A x)

    Flips permute voxels, so each is undone exactly, and the result commutes with every one of them. Use it
    for the last half point of Dice; leave it out where time counts, and across an axis on which sides have
    names (see ``medconv.planning.mirror_axes``).

    Args:
        network: Maps ``(B, C, *S)`` to ``(B, K, *S)``.
        x: The input.
        axes: Spatial axes to flip, ``0`` the first one after the channels; none: one plain pass.

    Shape:
        - Input ``(B, C, *S)``.
        - Output ``(B, K, *S)``, float32.

    Raises:
        ConfigError: An axis is given twice or does not exist.

    Cost:
        ``2^len(axes)`` passes, two outputs in memory.

    Example:
        >>> def ramp(x: Tensor) -> Tensor:
        ...     return x + torch.arange(4.0)
        >>> mirror_average(ramp, torch.zeros(1, 1, 4), (0,))
        tensor([[[1.5000, 1.5000, 1.5000, 1.5000]]])
    """
    axes = tuple(axes)
    if len(set(axes)) != len(axes) or any(axis not in range(x.dim() - 2) for axis in axes):
        raise ConfigError(f"expected different mirror axes from 0 to {x.dim() - 3}, got {axes}")
    flips = [flip for size in range(len(axes) + 1) for flip in combinations(axes, size)]
    total = network(x).to(torch.float32, copy=True)
    for flip in flips[1:]:
        dims = [axis + 2 for axis in flip]
        total += network(x.flip(dims)).flip(dims)
    return total / len(flips)
