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


class StopOnNonFinite(pl.Callback):
    """Raise when the loss is NaN or infinite over ``patience`` consecutive looks.

    With float16 the gradient scaler skips single bad steps by design; with bfloat16 and float32 nothing does. The
    losses between two looks are kept where they are, so the first bad step is known although nothing waited for it.

    Args:
        every_n_steps: How often to look; each look waits for the device once.
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
        self._kept: list[tuple[int, Tensor, Any]] = []
        self._first: tuple[int, float, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget an earlier run."""
        del trainer, pl_module
        self._bad, self._kept, self._first = 0, [], None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the loss; look at the kept ones now and then.

        Raises:
            MedconvError: With the step, the cases, what to try, and the last checkpoint that is sound.
        """
        del pl_module, batch_idx
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        cases = batch.get("case") if isinstance(batch, dict) else None
        self._kept.append((trainer.global_step, loss.detach(), cases))
        if trainer.global_step % self.every_n_steps:
            return
        values = torch.stack([kept for _, kept, _ in self._kept]).tolist()
        wrong = [n for n, value in enumerate(values) if not _is_finite(value)]
        if wrong and self._first is None:
            self._first = (self._kept[wrong[0]][0], values[wrong[0]], self._kept[wrong[0]][2])
        self._kept = []
        self._bad = 0 if _is_finite(values[-1]) else self._bad + 1
        if not self._bad:
            self._first = None
        elif self._bad >= self.patience and self._first is not None:
            raise MedconvError(_explain(trainer, *self._first))


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


def _explain(trainer: pl.Trainer, step: int, loss: float, cases: Any) -> str:
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
