"""When a training step says something: telling takes longer than a small network's step."""

from __future__ import annotations

import lightning.pytorch as pl


def logs_now(trainer: pl.Trainer, batch_idx: int) -> bool:
    """Whether this step's figures are told: the first of an epoch, and those that ``log_every_n_steps`` writes down."""
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return batch_idx == 0 or (every > 0 and (trainer.global_step + 1) % every == 0)


def has_logged(trainer: pl.Trainer, batch_idx: int) -> bool:
    """The same once the step is done, which has been counted by then."""
    every = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return batch_idx == 0 or (every > 0 and trainer.global_step % every == 0)
