"""The newest weights, saved after every epoch and when a run is interrupted, never when it fails."""

from __future__ import annotations

import logging

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger("medconv")


class LastCheckpoint(ModelCheckpoint):
    """As Lightning's, but an error, or weights that are no numbers, leave the last whole checkpoint alone.

    After an interruption the weights are sound and worth keeping. After an error they may be what failed (a
    loss that is no number), and in a distributed run the other ranks do not come to save with this one.
    """

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save if the run was interrupted."""
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            super().on_exception(trainer, pl_module, exception)

    def _save_checkpoint(self, trainer: pl.Trainer, filepath: str) -> None:
        weights = [p.detach() for p in trainer.lightning_module.parameters()]
        # the weights of all ranks are the same, so all of them save or none does
        if bool(torch.stack(torch._foreach_norm(weights)).isfinite().all()):
            super()._save_checkpoint(trainer, filepath)
        else:
            log.warning(
                "weights are no longer finite at step %d: %s is kept as it was", trainer.global_step, filepath
            )
