"""A word in time where a run's ``max_time`` holds so few steps that nothing can be learnt."""

from __future__ import annotations

import logging
from time import perf_counter
from typing import Any

import lightning.pytorch as pl

from medconv.training.progress import timer_of

log = logging.getLogger("medconv")

FEW_STEPS = 100
"""The smallest networks of the shipped configurations need some hundreds to find a structure at all."""

_AFTER_S = 5.0


class FewSteps(pl.Callback):
    """Says once, early, how many steps a run can make, if that is next to none.

    A configuration made for a GPU takes half a minute a step on a laptop, and a time limit hides it: the run ends well,
    with a network that has learnt nothing. The first step is not counted, since it compiles and warms up; steps are
    timed for some seconds. Without a time limit nothing is said: the user sees the bar.

    Example:
        >>> trainer = pl.Trainer(callbacks=[FewSteps()], logger=False, max_time="00:00:10:00", accelerator="cpu")
    """

    def __init__(self) -> None:
        self._begun: float | None = None
        self._steps = 0
        self._is_done = False

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        """Time the steps of the first seconds, then say what is to be said."""
        if self._is_done:
            return
        if self._begun is None:
            self._begun = perf_counter()
            return
        self._steps += 1
        spent_s = perf_counter() - self._begun
        if spent_s >= _AFTER_S:
            self._is_done = True
            self._tell(trainer, spent_s / self._steps, str(pl_module.device))

    def _tell(self, trainer: pl.Trainer, step_s: float, device: str) -> None:
        timer = timer_of(trainer)
        left_s = None if timer is None else timer.time_remaining()
        if left_s is None:
            return
        steps = trainer.global_step + int(left_s / step_s)
        if steps < FEW_STEPS and trainer.is_global_zero:
            log.warning(
                "only about %d steps fit into max_time, at %.1f s a step on %s: the network will learn next to "
                "nothing; give more time, or a smaller network, patch or batch%s",
                steps,
                step_s,
                device,
                " (overlays hippocampus_small, nuclei_small, membrane_small)" if device == "cpu" else "",
            )
