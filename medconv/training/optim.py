"""Optimisers and learning-rate curves, as pure functions of plain settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from medconv.catalogue import did_you_mean
from medconv.errors import ConfigError

OptimizerName = Literal["adamw", "sgd"]
ScheduleName = Literal["poly", "cosine", "constant"]


def require_known(what: str, name: str, choices: Sequence[str]) -> None:
    """Refuse a word that stands for none of the choices: nothing else is taken in its place.

    Args:
        what: The setting.
        name: What it was set to.
        choices: All that it can be, two at least.

    Raises:
        ConfigError: With the choices, and the nearest.

    Example:
        >>> require_known("schedule", "poly", ("poly", "constant"))
    """
    if name not in choices:
        words = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise ConfigError(f"expected {what} {words}, got {name!r}{did_you_mean(str(name), choices)}")


def build_optimizer(
    network: nn.Module,
    name: OptimizerName,
    lr: float,
    weight_decay: float,
    momentum: float,
    *,
    fused: bool = False,
) -> Optimizer:
    """The optimiser over all trainable weights; norms, biases and scalars are not decayed.

    Args:
        network: Its parameters that require a gradient are optimised.
        name: ``"adamw"``, or ``"sgd"`` with Nesterov momentum (nnU-Net's choice).
        lr: Peak learning rate.
        weight_decay: Decay of kernels; parameters with one axis or none are exempt.
        momentum: Momentum of SGD, or the first beta of AdamW.
        fused: Update all weights in a few kernels on a GPU, without asking it for a number.

    Raises:
        ConfigError: The network has nothing to train.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    if not trainable:
        raise ConfigError("expected a network with trainable parameters, got none: is everything frozen?")
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    if name == "sgd":
        return SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
    return AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)


def learning_rate_factor(progress: float, schedule: ScheduleName, warmup: float = 0.0) -> float:
    r"""Share of the peak learning rate at a point of the run.

    .. math:: poly: (1 - t)^{0.9} \qquad cosine: \tfrac12 (1 + \cos \pi t)

    Args:
        progress: Done share of the run, 0 to 1 (values outside are clamped).
        schedule: ``"poly"`` (nnU-Net), ``"cosine"`` or ``"constant"``.
        warmup: Share of the run over which the rate rises linearly from zero.

    Example:
        >>> [round(learning_rate_factor(t, "cosine"), 2) for t in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]

    Source:
        Isensee et al., nnU-Net, Nature Methods 2021; Loshchilov & Hutter, SGDR, ICLR 2017.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < warmup:
        return progress / warmup
    done = (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0
    if schedule == "poly":
        return (1 - done) ** 0.9
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0
