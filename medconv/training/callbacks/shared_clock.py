"""What all processes of a run must know at the same step: how much of its time is used, and whether it ends.

Who asks makes all processes wait for each other, and each for its device, which then stands still until its host has
told it more. Lightning asks twice after every step, whether the time is up and whether rank 0 was told to end; where a
step takes 8 ms, that is a large part of it.

Processes that are not in step with each other cannot act on SIGTERM one by one, as Lightning has them do: it sends word
to the others while they average gradients, and leaves the loop while they go on. Here it is noted, and told at the next
question.
"""

from __future__ import annotations

import signal
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException

from medconv.training.progress import local_time_share, time_share, timer_of

_LOOK_S = 0.5
_MOST_STEPS = 1000


class SharedClock(pl.Callback):
    """Asks rank 0 about twice a second, in place of Lightning's questions at every step; alone it does nothing.

    At which steps is decided by rank 0 and told with each answer, so that all ask at the same ones. A run may go on for
    half a second longer than ``max_time``, or one step where that takes longer. SIGTERM ends a run as soon, and after a
    validation that is going on; schedulers send it to all processes, and rank 0 has to be among those that get it.

    Args:
        look_s: Seconds between two questions, about.
    """

    def __init__(self, look_s: float = _LOOK_S) -> None:
        self.look_s = look_s
        self.time_share = 0.0
        """Used share of ``max_time`` when rank 0 was last asked; 0 without a limit."""
        self._steps, self._next = 0, 1
        self._asked: tuple[int, float] | None = None
        self._was_told = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask once, then take Lightning's questions over."""
        del pl_module
        self._steps, self._next, self._asked, self._was_told = 0, 1, None, False
        if not _asks_others(trainer):
            return
        self.time_share = time_share(trainer)  # more than 0 in a run that is resumed
        for asks, name in _questions(trainer):
            if hasattr(asks, name):  # else another Lightning, whose own questions are asked as before
                setattr(asks, name, _ask_nobody)
        self._take_over_sigterm(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Ask, at the steps that were agreed on.

        Raises:
            SIGTERMException: Rank 0 was told to end.
        """
        if not _asks_others(trainer):
            return
        self._steps += 1
        if self._steps < self._next:
            return
        said = (local_time_share(trainer), self._is_told(trainer), self._steps_to_the_next())
        self.time_share, is_ended, steps = trainer.strategy.broadcast(said)
        self._next = self._steps + steps
        if is_ended:
            raise SIGTERMException
        trainer.should_stop = trainer.should_stop or self.time_share >= 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ask about SIGTERM once more, or the last validation would swallow it; Lightning raises after this epoch."""
        del pl_module
        if _asks_others(trainer):
            trainer._signal_connector.received_sigterm = trainer.strategy.broadcast(self._is_told(trainer))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the questions back: Lightning tears callbacks down only where a run ends well."""
        del exception
        self.teardown(trainer, pl_module, "fit")

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the questions back."""
        del pl_module, stage
        for asks, name in _questions(trainer):
            if getattr(asks, name, None) is _ask_nobody:
                delattr(asks, name)

    def _is_told(self, trainer: pl.Trainer) -> bool:
        return self._was_told or trainer.received_sigterm

    def _take_over_sigterm(self, trainer: pl.Trainer) -> None:
        """Note it, in place of what Lightning does; it puts back what was there before the run when that ends."""
        handlers = getattr(signal.getsignal(signal.SIGTERM), "signal_handlers", [])
        theirs = getattr(trainer._signal_connector, "_sigterm_notifier_fn", None)
        handlers[:] = [self._note if handler == theirs else handler for handler in handlers]

    def _note(self, *_: object) -> None:
        self._was_told = True

    def _steps_to_the_next(self) -> int:
        now, before = perf_counter(), self._asked
        self._asked = (self._steps, now)
        if before is None:
            return 1
        step_s = max(1e-9, (now - before[1]) / (self._steps - before[0]))
        return min(_MOST_STEPS, max(1, int(self.look_s / step_s)))


def _asks_others(trainer: pl.Trainer) -> bool:
    """Whether a question goes to a group of processes, which may have one member."""
    return trainer.world_size > 1 or (dist.is_available() and dist.is_initialized())


def _ask_nobody(*_: object) -> None:
    pass


def _questions(trainer: pl.Trainer) -> list[tuple[object, str]]:
    """Who asks all processes after every step, and the private method of Lightning 2.6 that does."""
    return [
        (trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor"),
        (timer_of(trainer), "_check_time_remaining"),
    ]
