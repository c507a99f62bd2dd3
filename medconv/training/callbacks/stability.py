"""Stop a run whose loss is no number any more, instead of training on nothing for hours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from medconv.errors import CheckpointError, ConfigError, MedconvError
from medconv.inference.archive import load_plain
from medconv.inference.checkpoint import network_state
from medconv.training.on_the_way import OnTheWay

_OF_ANOTHER = (
    "the loss of another process is no number and has not come back; that process says where it began"
)

_Step = tuple[int, Any]
"""The number of a step, and the cases of its batch where they are known."""


class StopOnNonFinite(pl.Callback):
    """Raise when the loss is NaN or infinite over ``patience`` consecutive looks.

    With float16 the gradient scaler skips single bad steps by design; with bfloat16 and float32 nothing does. The
    losses of all steps are looked at, so the first bad one is known, and nobody waits for them: a look sends for the
    losses since the last one, and judges those that were sent for then. So on a GPU a run stops one look later, at the
    same step on all ranks; on the CPU it is judged at once. Before a validation, and at the end of an epoch and so of
    the run, what is on its way is waited for and judged.

    Args:
        every_n_steps: How often to look.
        patience: Consecutive bad looks before the run is stopped.

    Raises:
        ConfigError: One of them is below 1.
    """

    def __init__(self, every_n_steps: int = 50, patience: int = 2) -> None:
        if every_n_steps < 1 or patience < 1:
            raise ConfigError(
                f"expected every_n_steps and patience from 1, got {every_n_steps} and {patience}"
            )
        self.every_n_steps, self.patience = every_n_steps, patience
        self._bad = 0
        self._kept: list[tuple[_Step, Tensor]] = []
        self._look: tuple[list[_Step], OnTheWay] | None = None
        self._first: tuple[_Step, float] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier run."""
        del trainer, pl_module
        self._bad, self._kept, self._look, self._first = 0, [], None, None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; now and then send for the kept ones, and judge those that were sent for before.

        Raises:
            MedconvError: With the step, the cases, what to try, and the last checkpoint that is sound.
        """
        del pl_module, batch_idx
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        cases = batch.get("case") if isinstance(batch, dict) else None
        self._kept.append(((trainer.global_step, cases), loss.detach()))
        if trainer.global_step % self.every_n_steps:
            return
        self._judge(trainer)
        steps, losses = zip(*self._kept, strict=True)
        self._look, self._kept = (list(steps), OnTheWay(torch.stack(losses))), []
        # whether they happen to have arrived differs between ranks, which have to stop together
        if self._look[1].at_once:
            self._judge(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge what is on its way before broken weights are measured."""
        if not trainer.sanity_checking:
            self.on_train_epoch_end(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge what is on its way, so that no run ends as if its last look had been good.

        Raises:
            MedconvError: As after a step.
        """
        del pl_module
        self._judge(trainer)

    def _judge(self, trainer: pl.Trainer) -> None:
        if self._look is None:
            return
        (steps, sent), self._look = self._look, None
        values = sent.numbers()
        wrong = [n for n, value in enumerate(values) if not _is_finite(value)]
        if wrong and self._first is None:
            self._first = (steps[wrong[0]], values[wrong[0]])
        is_bad = not _is_finite(values[-1])
        # one process that stops alone leaves the others waiting for it
        is_bad = trainer.strategy.reduce_boolean_decision(is_bad, all=False)
        self._bad = self._bad + 1 if is_bad else 0
        if not self._bad:
            self._first = None
        elif self._bad >= self.patience:
            raise MedconvError(_explain(trainer, *self._first) if self._first else _OF_ANOTHER)


def last_finite_checkpoint(folders: Sequence[Path]) -> Path | None:
    """The newest checkpoint in some folders whose weights are all numbers."""
    found = {path for folder in folders for path in folder.glob("*.ckpt")}
    for path in sorted(found, key=lambda p: p.stat().st_mtime_ns, reverse=True):
        try:
            network_state(path, load_plain(path).get("state_dict"))
        except CheckpointError:
            continue
        return path
    return None


def _explain(trainer: pl.Trainer, bad: _Step, loss: float) -> str:
    step, cases = bad
    rate = float(trainer.callback_metrics.get("lr", torch.nan))
    given = (getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks)
    folders = {Path(folder) for folder in given if folder}
    sound = last_finite_checkpoint(sorted(folders))
    go_on = (
        f"the last sound checkpoint is {sound} (--resume {sound})"
        if sound
        else "no checkpoint was written yet"
    )
    return (
        f"the loss is {loss} at step {step}{_names(trainer, cases)} and has not come back (learning rate {rate:.2e}); "
        "look at these cases, or try a lower model.lr, trainer.gradient_clip_val=12 or trainer.precision=32; "
        f"{go_on}"
    )


def _names(trainer: pl.Trainer, cases: Any) -> str:
    known = getattr(getattr(trainer.datamodule, "training_set", None), "cases", None)  # type: ignore[attr-defined]
    if cases is None or known is None:
        return ""
    return f" (cases {', '.join(known[int(i)].case_id for i in cases)})"


def _is_finite(value: float) -> bool:
    return value - value == 0
