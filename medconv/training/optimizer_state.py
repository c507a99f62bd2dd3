"""The memory of an optimiser, which comes from a checkpoint of any machine."""

from __future__ import annotations

import torch
from torch.optim import Optimizer


def lay_out_state(optimizer: Optimizer) -> None:
    """Bring an optimiser's state to the memory layout of its weights, which fused updates demand.

    A checkpoint may come from a run whose weights were laid out otherwise: on a CPU, say.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if (
                torch.is_tensor(value)
                and value.shape == parameter.shape
                and value.stride() != parameter.stride()
            ):
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
