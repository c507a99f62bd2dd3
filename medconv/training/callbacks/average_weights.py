"""The running mean of the weights, which is measured, saved and used in place of the last ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase

from medconv.errors import CheckpointError, ConfigError

log = logging.getLogger("medconv")

_UPDATES = "averaging_updates"

RAW = "current_model_state"
"""Where a checkpoint keeps the weights that are trained on; Lightning's own callback uses this name too."""


class AverageWeights(pl.Callback):
    r"""Keep an exponential moving average of the weights; validate with it and save it.

    .. math:: \bar w \leftarrow d_n \bar w + (1 - d_n) w, \qquad d_n = \min\left(d, \frac{1 + n}{10 + n}\right)

    after each optimiser step, ``n`` being the number of averages taken so far: a short run forgets where it began.
    ``state_dict`` of a checkpoint holds the average, so whatever reads it uses the average; the weights to continue
    from lie beside it. Running statistics of batch norms are averaged too; other buffers are as they are.
    Set ``model.ema_decay`` to have it.

    It does what Lightning's ``EMAWeightAveraging`` does, and differs where that one measures tests with the last
    weights, begins a short run with half of the untrained ones, averages masks, or keeps the average on the CPU.

    Args:
        decay: ``d``, from 0 (the last weights) to below 1.

    Raises:
        ConfigError: ``decay`` is outside its range.

    Cost:
        One copy of the weights in memory, and one pass over them a step.

    Source:
        Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"expected ema_decay from 0 to below 1, got {decay}")
        self.decay = decay
        self._average: list[Tensor] | None = None
        self._raw: dict[str, Tensor] | None = None
        self._updates, self._step, self._swapped = 0, 0, False

    # --- beginning and end -------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forget a run that was interrupted."""
        del trainer, pl_module, stage
        self._average, self._raw, self._updates, self._swapped = None, None, 0, False

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the weights to continue from; those already loaded are the average."""
        del pl_module
        if trainer.state.fn == TrainerFn.FITTING:
            self._raw, self._updates = checkpoint.get(RAW), int(checkpoint.get(_UPDATES, 0))
            if self._raw is None:
                log.info("the checkpoint holds no averaged weights: averaging begins with its weights")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the first average where the weights now lie."""
        self._average = [value.clone() for value in _averaged(pl_module)]
        del trainer
        if self._raw is not None:
            pl_module.load_state_dict(self._raw)
            self._raw = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the step that the run stands at."""
        del pl_module
        self._step = trainer.global_step

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in the network, and give the memory back."""
        del trainer
        if self._average is not None and not self._swapped:
            torch._foreach_copy_(list(_averaged(pl_module)), self._average)
        self._average = None

    # --- while training ----------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average a little, once for each optimiser step."""
        del outputs, batch, batch_idx
        self._follow(trainer, pl_module)

    @torch.no_grad()
    def _follow(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._average is None or self._swapped or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        decay = min(self.decay, (1 + self._updates) / (10 + self._updates))
        torch._foreach_lerp_(self._average, list(_averaged(module)), 1 - decay)
        self._updates += 1

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the average."""
        del trainer
        if self._average is not None and not self._swapped:
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on with the weights that are trained."""
        del trainer
        if self._average is not None and self._swapped:
            self._swap(pl_module)

    @torch.no_grad()
    def _swap(self, module: pl.LightningModule) -> None:
        """In place: recorded steps and optimisers know the weights by their address."""
        assert self._average is not None
        current = list(_averaged(module))
        kept = [value.clone() for value in current]
        torch._foreach_copy_(current, self._average)
        torch._foreach_copy_(self._average, kept)
        self._swapped = not self._swapped

    # --- checkpoints -------------------------------------------------------------------------------

    def put_into(self, checkpoint: dict[str, Any], module: pl.LightningModule) -> None:
        """Give a checkpoint of ``module`` the average as its weights, and the trained ones beside it.

        The task calls it, because Lightning calls no callback where only weights are saved.
        """
        if self._average is None:
            return
        # an interrupt may come after a step and before what follows it
        self._follow(module.trainer, module)
        raw, average = dict(checkpoint["state_dict"]), dict(checkpoint["state_dict"])
        # an interrupt in the middle of a validation comes while the two are exchanged
        other = raw if self._swapped else average
        for name, value in zip(_names(module), self._average, strict=True):
            other[name] = value
        checkpoint["state_dict"] = average
        if "optimizer_states" in checkpoint:
            checkpoint[RAW] = raw
            checkpoint[_UPDATES] = self._updates


def refuse_lost_average(checkpoint: dict[str, Any], *, averages: bool) -> None:
    """Refuse to continue a run with averaged weights as one without.

    Raises:
        CheckpointError: It would silently train on from the average.
    """
    if RAW in checkpoint and not averages:
        raise CheckpointError(
            "this run averages its weights (model.ema_decay), and the settings given now do not; set "
            "model.ema_decay as in the config.yaml of the run, or begin a new run from its weights with --init-from"
        )


def _averaged(module: pl.LightningModule) -> Iterator[Tensor]:
    values = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return (values[name].detach() for name in _names(module))


def _names(module: pl.LightningModule) -> list[str]:
    """Of trained weights, and of the statistics that belong to them."""
    statistics = [
        f"{name}.{kind}"
        for name, layer in module.named_modules()
        if isinstance(layer, _NormBase) and layer.running_mean is not None
        for kind in ("running_mean", "running_var")
    ]
    return [name for name, p in module.named_parameters() if p.requires_grad] + statistics
