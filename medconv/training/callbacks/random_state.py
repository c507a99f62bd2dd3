"""The state of the random generators, kept in the checkpoint so that a resumed run draws what it would have drawn."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch


class RandomState(pl.Callback):
    """Save PyTorch's generators with each checkpoint and restore them when training continues.

    Patches and augmentation need none of this (each is a function of seed, epoch and index); dropout does.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The states as tensors, readable with ``weights_only=True``."""
        device = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
        return {"cpu": torch.get_rng_state(), "cuda": device}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training starts; what happens before must not use them up."""
        self._restored = state_dict

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore."""
        del trainer, pl_module
        if self._restored is None:
            return
        torch.set_rng_state(self._restored["cpu"].cpu())
        if self._restored["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._restored["cuda"].cpu())
        self._restored = None
