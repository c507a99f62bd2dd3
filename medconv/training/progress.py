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
    total = trainer.estimated_stepping_batches
    done = trainer.global_step / total if total and total != float("inf") else 0.0
    timer = next((c for c in trainer.callbacks if isinstance(c, Timer)), None)  # type: ignore[attr-defined]
    remaining = None if timer is None else timer.time_remaining()
    if timer is not None and remaining is not None:
        elapsed = timer.time_elapsed()
        done = max(done, elapsed / max(elapsed + remaining, 1e-9))
        done = cast(float, trainer.strategy.broadcast(done))
    return done
