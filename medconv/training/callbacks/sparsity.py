"""Masks of sparse convolutions that change while training: levels that rise, weights that move.

Source: Zhu & Gupta, "To Prune, or Not to Prune", 2017; Evci et al., "Rigging the Lottery" (RigL), ICML 2020;
Mocanu et al., "Scalable Training of Artificial Neural Networks" (SET), 2018; Yuan & Lin, "Model Selection and
Estimation in Regression with Grouped Variables", 2006 (group lasso).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, get_args

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from medconv.errors import ConfigError
from medconv.ops import SparseConv, check_sparsity, erdos_renyi_levels, global_levels, magnitude_mask, regrow
from medconv.training.progress import run_progress

Scope = Literal["layer", "global", "erk"]
Growth = Literal["gradient", "random"]


class PruneGradually(pl.Callback):
    r"""Raise the level of all ``SparseConv`` layers from 0 to ``sparsity`` over a part of the run.

    .. math:: s(t) = s_{end} \left(1 - (1 - t)^3\right)

    The masks follow the size of the weights at every update, and the level of each update is exact.

    Args:
        sparsity: Level at the end; over all layers together for ``"global"`` and ``"erk"``.
        begin: Share of the run at which the level begins to rise.
        end: Share of the run from which it stays.
        every_n_steps: Optimiser steps between updates.
        scope: ``"layer"``: the same level everywhere. ``"global"``: the largest weights of all layers stay,
            newly ranked at each update. ``"erk"``: wide layers give more (Erdős–Rényi kernel).

    Raises:
        ConfigError: A setting outside its range; when training starts, no layer that it could prune.
    """

    def __init__(
        self,
        sparsity: float = 0.5,
        begin: float = 0.1,
        end: float = 0.7,
        every_n_steps: int = 100,
        scope: Scope = "layer",
    ) -> None:
        if not 0 <= begin < end <= 1 or every_n_steps < 1 or scope not in get_args(Scope):
            raise ConfigError(
                "expected 0 <= begin < end <= 1, every_n_steps of at least 1 and scope 'layer', 'global' or "
                f"'erk'; got begin {begin}, end {end}, every_n_steps {every_n_steps}, scope {scope!r}"
            )
        self.sparsity, self.begin, self.end = check_sparsity(sparsity), begin, end
        self.every_n_steps, self.scope = every_n_steps, scope
        self._seen, self._last = -1, 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin where the schedule stands: dense, or in a resumed run at the level reached."""
        self._update(pl_module, self.level(run_progress(trainer)))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the masks where it is due, and once more when the run is done."""
        del outputs, batch, batch_idx
        step, done = trainer.global_step, run_progress(trainer)
        # several batches may make one step, and the last step may come between two updates
        if step != self._seen and (step % self.every_n_steps == 0 or done >= 1):
            self._seen = step
            if done <= self.end or self._last < self.sparsity:
                self._update(pl_module, self.level(done))

    def level(self, progress: float) -> float:
        """Sparsity at a done share of the run."""
        done = min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.sparsity * (1 - (1 - done) ** 3)

    def _update(self, module: nn.Module, level: float) -> None:
        layers = [layer for layer in sparse_layers(module) if layer.n_of_m is None]
        if not layers:
            raise ConfigError("expected SparseConv layers whose level can rise, got none in this network")
        if self.scope == "global":
            levels = global_levels([layer.weight for layer in layers], level)
        elif self.scope == "erk":
            levels = erdos_renyi_levels([layer.weight_shape for layer in layers], level)
        else:
            levels = [level] * len(layers)
        self._last = level
        for layer, own in zip(layers, levels, strict=True):
            if layer.pattern == "channels":
                layer.update_mask(min(max(own, 0.0), 1 - 1 / layer.out_channels))
            else:  # ranked together, a layer may lose all that it has
                layer.set_mask(magnitude_mask(layer.weight, own))


class RegrowWeights(pl.Callback):
    r"""Move the kept weights of ``SparseConv`` layers to where they are wanted, at an unchanged level.

    At each update the share ``f(t)`` of the smallest kept weights is dropped and as many are grown: where the
    dense gradient is largest (RigL) or at random (SET). Grown weights start at 0.

    .. math:: f(t) = \tfrac{f_0}{2} (1 + \cos(\pi t / t_{end}))

    Momentum at changed places is erased. The second moment of Adam starts there at the squared gradient:
    from 0 the first step would be three times the learning rate, as Adam corrects its bias only once a run.

    Args:
        growth: ``"gradient"`` or ``"random"``.
        share: ``f_0``, share of the kept weights exchanged at the first update.
        end: Share of the run after which the masks rest.
        every_n_steps: Optimiser steps between updates.
        seed: For ``"random"``; the same on all ranks.

    Raises:
        ConfigError: A setting outside its range; when training starts, no layer that it could change.
    """

    def __init__(
        self,
        growth: Growth = "gradient",
        share: float = 0.3,
        end: float = 0.75,
        every_n_steps: int = 100,
        seed: int = 0,
    ) -> None:
        if growth not in get_args(Growth) or not 0 < share < 1 or not 0 < end <= 1 or every_n_steps < 1:
            raise ConfigError(
                "expected growth 'gradient' or 'random', 0 < share < 1, 0 < end <= 1 and every_n_steps of at "
                f"least 1; got growth {growth!r}, share {share}, end {end}, every_n_steps {every_n_steps}"
            )
        self.growth, self.share, self.end = growth, share, end
        self.every_n_steps, self.seed = every_n_steps, seed
        self._chosen: list[SparseConv] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a network without layers to change."""
        del trainer
        self._chosen = [s for s in sparse_layers(pl_module) if s.pattern == "magnitude" and s.zero_share > 0]
        if not self._chosen:
            raise ConfigError("expected sparse SparseConv layers with the pattern 'magnitude', got none")
        refuse_recording = getattr(pl_module, "refuse_recording", None)
        if refuse_recording and any(layer.gradient == "masked" for layer in self._chosen):
            refuse_recording("RegrowWeights asks for the dense gradient now and then")

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the dense gradient where an update is due; in DDP it arrives averaged over the ranks."""
        del pl_module, batch, batch_idx
        due = self._is_due(trainer)
        for layer in self._chosen:
            layer.asks_dense_gradient = due

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Exchange weights; the step that follows moves only those that are kept."""
        del pl_module
        if not any(layer.asks_dense_gradient for layer in self._chosen):
            return
        fraction = self.share / 2 * (1 + math.cos(math.pi * run_progress(trainer) / self.end))
        for number, layer in enumerate(self._chosen):
            gradient = layer.weight.grad
            if not layer.asks_dense_gradient or gradient is None:
                continue
            # a step with infinite gradients is skipped by the scaler, and says nothing about any place
            if bool(gradient.isfinite().all()):
                score = gradient.abs() if self.growth == "gradient" else self._noise(layer, trainer, number)
                exchange(layer, score, fraction, optimizer)
            if layer.gradient == "masked":
                gradient.masked_fill_(~layer.mask, 0.0)
            layer.asks_dense_gradient = False

    def _is_due(self, trainer: pl.Trainer) -> bool:
        step = trainer.global_step
        return step > 0 and step % self.every_n_steps == 0 and run_progress(trainer) < self.end

    def _noise(self, layer: SparseConv, trainer: pl.Trainer, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed + 1_000_003 * trainer.global_step + number)
        return torch.rand(layer.weight_shape, generator=generator).to(layer.weight.device)


class GroupLasso(pl.Callback):
    r"""Pull whole output channels of ``SparseConv`` layers with the pattern ``"channels"`` to exactly 0.

    .. math:: W_c \leftarrow W_c \cdot \max\left(0, \; 1 - \eta \lambda \sqrt{n_c} / \lVert W_c \rVert\right)

    The proximal step of the penalty ``λ Σ √n_c ‖W_c‖`` after each optimiser step with learning rate ``η``: as
    a term of the loss it would make channels small, never zero. ``remove_channels`` then removes them.

    Args:
        strength: ``λ``.

    Raises:
        ConfigError: A negative strength; when training starts, no layer with the pattern ``"channels"``.
    """

    def __init__(self, strength: float = 1e-4) -> None:
        if not strength >= 0:
            raise ConfigError(f"expected a strength of at least 0, got {strength}")
        self.strength = strength
        self._seen = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a network without channels to pull at."""
        self._seen = trainer.global_step
        if not any(layer.pattern == "channels" for layer in sparse_layers(pl_module)):
            raise ConfigError("expected SparseConv layers with the pattern 'channels', got none")

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Shrink every channel a little, the weak ones to 0."""
        del outputs, batch, batch_idx
        if trainer.global_step == self._seen:  # gradients are still being accumulated
            return
        self._seen = trainer.global_step
        lr = float(trainer.optimizers[0].param_groups[0]["lr"])
        for layer in sparse_layers(pl_module):
            if layer.pattern == "channels":
                shrink_channels(layer.weight, lr * self.strength)


@torch.no_grad()
def exchange(layer: SparseConv, score: Tensor, share: float, optimizer: Optimizer) -> None:
    """Drop the smallest kept weights of a layer, grow as many where the score is highest, and reset their state.

    Args:
        layer: Its mask and master weights change; the number of kept weights does not.
        score: How much each place is wanted, shape of the weight.
        share: Share of the kept weights that is exchanged.
        optimizer: Its state at changed places is that of a new weight.
    """
    before = layer.mask.clone()
    mask, grown = regrow(layer.weight, before, score, share)
    layer.set_mask(mask)
    layer.weight.masked_fill_(grown, 0.0)
    changed = grown | (before & ~mask)
    gradient = layer.weight.grad
    for name, value in optimizer.state.get(layer.weight, {}).items():
        if isinstance(value, Tensor) and value.shape == layer.weight.shape:
            value.masked_fill_(changed, 0.0)
            if "exp_avg_sq" in name and gradient is not None:
                value.add_(gradient.square() * grown)


@torch.no_grad()
def shrink_channels(weight: Tensor, strength: float) -> None:
    """One proximal step of the group lasso over output channels, in place.

    Args:
        weight: ``(O, I, *kernel)``.
        strength: ``ηλ``.
    """
    size = weight[0].numel()
    norms = weight.flatten(1).norm(dim=1).clamp(min=torch.finfo(weight.dtype).tiny)
    factor = (1 - strength * math.sqrt(size) / norms).clamp(min=0.0)
    weight.mul_(factor.reshape(-1, *[1] * (weight.dim() - 1)))


def sparse_layers(module: nn.Module) -> Iterator[SparseConv]:
    """All sparse convolutions of a network that are not left dense."""
    return (m for m in module.modules() if isinstance(m, SparseConv) and not m.is_dense)
