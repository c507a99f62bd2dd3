"""Stop a run whose loss is no number any more, instead of training on nothing for hours."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from medconv.errors import MedconvError


class StopOnNonFinite(pl.Callback):
    """Raise when the loss is NaN or infinite over ``patience`` consecutive looks.

    With float16 the gradient scaler skips single bad steps by design; with bfloat16 and float32 nothing does.

    Args:
        every_n_steps: How often to look; each look waits for the device once.
        patience: Consecutive bad looks before the run is stopped.
    """

    def __init__(self, every_n_steps: int = 50, patience: int = 2) -> None:
        self.every_n_steps, self.patience = every_n_steps, patience
        self._bad = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss now and then.

        Raises:
            MedconvError: With the step, the learning rate and what to try.
        """
        del pl_module, batch, batch_idx
        if trainer.global_step % self.every_n_steps:
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._bad = 0 if bool(torch.isfinite(loss)) else self._bad + 1
        if self._bad >= self.patience:
            lr = float(trainer.callback_metrics.get("lr", torch.nan))
            raise MedconvError(
                f"the loss is {float(loss)} at step {trainer.global_step} (learning rate {lr:.2e}); try a lower "
                "model.lr, trainer.gradient_clip_val=12, or trainer.precision=32; the last checkpoint is intact"
            )
