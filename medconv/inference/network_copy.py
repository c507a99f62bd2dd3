"""Copies of a network whose tensors never exist twice where the network is."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import Tensor, nn


def copy_with(network: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of a network, each weight and buffer changed instead of copied; weights have no gradient in it.

    ``deepcopy`` followed by ``to`` would hold a second set of weights on the network's own device for a moment, which
    is what is missing where memory ran short.

    Args:
        network: It stays as it is.
        change: Makes a new tensor of each weight and buffer. One that is used at several places stays one.

    Example:
        >>> copy_with(nn.Linear(2, 1), lambda tensor: tensor.to("meta")).weight.device
        device(type='meta')
    """
    memo: dict[int, Any] = {}
    for tensor in (*network.parameters(), *network.buffers()):
        changed = change(tensor.detach())
        memo[id(tensor)] = nn.Parameter(changed, False) if isinstance(tensor, nn.Parameter) else changed
    return deepcopy(network, memo)
