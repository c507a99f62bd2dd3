"""Writing tied kernels out: one number an orbit becomes one number a tap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def expand_orbits(values: Tensor, tap_orbit: Tensor, membership: Tensor) -> Tensor:
    """The value of each tap's orbit, copied exactly; the gradient of an orbit is the sum over its taps.

    Args:
        values: ``(..., U)``, one a orbit.
        tap_orbit: ``(K,)`` int64: the orbit of each tap.
        membership: ``(K, U)``, dtype of ``values``: 1 where the tap is in the orbit, else 0.

    Shape:
        - Output ``(..., K)``.

    Example:
        >>> orbit = torch.tensor([0, 1, 0])
        >>> expand_orbits(torch.tensor([[5.0, 7.0]]), orbit, torch.nn.functional.one_hot(orbit).float())
        tensor([[5., 7., 5.]])
    """
    if not torch.is_grad_enabled():  # exports see ordinary operations only
        return values.index_select(-1, tap_orbit)
    return _Expansion.apply(values, tap_orbit, membership)


class _Expansion(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, tap_orbit: Tensor, membership: Tensor) -> Tensor:
        ctx.save_for_backward(membership)
        return values.index_select(-1, tap_orbit)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # a product, where autograd would add taps of one orbit up by atomics: slow on a GPU, and in any order
        (membership,) = ctx.saved_tensors
        return gradient @ membership, None, None
