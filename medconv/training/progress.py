"""How far a run has come: steps or minutes, whichever is further."""

from __future__ import annotations

from typing import cast

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Timer


def run_progress(trainer: pl.Trainer) -> float:
    """Done share of the run, 0 to 1, equal on all ranks.

    Args:
        trainer: Steps count over all its steps, minutes over its ``max_time``.
    """
    return max(step_share(trainer), time_share(trainer))


def step_share(trainer: pl.Trainer) -> float:
    """Done share of the steps; every rank counts the same."""
    total = trainer.estimated_stepping_batches
    return trainer.global_step / total if total and total != float("inf") else 0.0


def time_share(trainer: pl.Trainer) -> float:
    """Used share of ``max_time`` by the clock of the first rank: asking makes all ranks wait for each other."""
    if timer_of(trainer) is None:
        return 0.0
    return cast(float, trainer.strategy.broadcast(local_time_share(trainer)))


def local_time_share(trainer: pl.Trainer) -> float:
    """Used share of ``max_time`` by the clock of this rank; 0 without a limit, 1 and more once it is up."""
    timer = timer_of(trainer)
    remaining = None if timer is None else timer.time_remaining()
    if timer is None or remaining is None:
        return 0.0
    elapsed = timer.time_elapsed()
    return elapsed / max(elapsed + remaining, 1e-9)


def timer_of(trainer: pl.Trainer) -> Timer | None:
    """What watches the time limit of a run, if it has one."""
    return next((c for c in trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]
