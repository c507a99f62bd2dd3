"""The newest weights, saved after every epoch and when a run is interrupted, never when it fails."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException


class LastCheckpoint(ModelCheckpoint):
    """As Lightning's, but an error leaves the last whole checkpoint alone.

    After an interruption the weights are sound and worth keeping. After an error they may be what failed (a
    loss that is no number), and in a distributed run the other ranks do not come to save with this one.
    """

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save if the run was interrupted."""
        if isinstance(exception, KeyboardInterrupt | SIGTERMException):
            super().on_exception(trainer, pl_module, exception)
