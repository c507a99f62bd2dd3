"""The division of the cases, kept beside the run that used it."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl


class SplitsRecord(pl.Callback):
    """Write ``splits_final.json`` when training begins, so that nnU-Net or another run can use the same folds.

    Args:
        path: The file; data that do not divide cases (``save_splits``) leave none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write, on rank 0."""
        del pl_module
        save = getattr(trainer.datamodule, "save_splits", None)  # type: ignore[attr-defined]
        if trainer.is_global_zero and save is not None:
            save(self.path)
