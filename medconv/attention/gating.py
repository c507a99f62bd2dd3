"""From logits to factors: what all gating attention layers share."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medconv.errors import ConfigError

Gate = Literal["centred", "sigmoid"]
"""``"centred"``: ``2σ``, which is 1 at logit 0. ``"sigmoid"``: ``σ``, the published form."""

MIN_HIDDEN = 4


class Perceptron(nn.Module):
    """Squeeze-and-excitation: ``(B, C)`` to ``(B, C)`` through one hidden layer."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, MIN_HIDDEN)
        self.hidden = nn.Linear(channels, hidden)
        self.last = nn.Linear(hidden, channels)

    def forward(self, means: Tensor) -> Tensor:
        """Logits of the channels."""
        return self.last(self.hidden(means).relu())


def check_gate(gate: str, reduction: int = 1) -> None:
    """Refuse an unknown gate or a reduction below 1.

    Raises:
        ConfigError: With what was expected.
    """
    if gate not in get_args(Gate) or reduction < 1:
        raise ConfigError(
            f"expected gate 'centred' or 'sigmoid' and reduction from 1, got {gate!r}, {reduction}"
        )


def start_open(last: nn.Module, gate: str) -> None:
    """Zero the last layer of a centred gate, so that every factor is 1 at the start."""
    if gate == "centred":
        for parameter in last.parameters():
            nn.init.zeros_(parameter)


def to_factors(logits: Tensor, gate: str) -> Tensor:
    """Factors in (0, 2) for a centred gate, in (0, 1) for a sigmoid."""
    factors = torch.sigmoid(logits)
    return 2 * factors if gate == "centred" else factors
