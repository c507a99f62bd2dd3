"""When a training step says something, and how: telling takes longer than a small network's step."""

from __future__ import annotations

import lightning.pytorch as pl
import torch


def logs_now(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether this step's figures are told: the first of an epoch, and those that ``log_every_n_steps`` writes down."""
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return batch_idx == 0 or (every > 0 and (trainer.global_step + 1) % every == 0)


def has_logged(trainer: pl.Trainer, batch_idx: int) -> bool:
    """The same once the step is done, which has been counted by then."""
    return batch_idx == 0 or writes_down(trainer)


def writes_down(trainer: pl.Trainer) -> bool:
    """Whether the loggers get the figures of the step that is done, too."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and trainer.global_step % every == 0


def log_known(module: pl.LightningModule, name: str, value: float) -> None:
    """Log a number of this step that the host knows, and wait for no device.

    Lightning moves a plain number to the device of the module and fetches it from there when it is written, and waits
    for the device both times; a tensor it leaves where it is.
    """
    module.log(name, torch.tensor(value, device="cpu"), on_step=True, on_epoch=False, batch_size=1)
