"""Overlay pictures of the same validation cases at every visit, to watch a network learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger

from medconv.planning import Plan

DrawOverlay = Callable[..., Any]


class OverlayPictures(pl.Callback):
    """Draw truth and prediction of fixed cases as PNG files, and send them to Weights & Biases where it logs.

    Args:
        draw: ``medconv.reporting.draw_overlay`` or anything with its arguments; handed in, because pictures are
            made on a higher storey than training.
        folder: Where the files go: ``<folder>/<case>.png``, overwritten at each visit.
        num_cases: How many cases, the first ones of the validation set.
        every_n_validations: Draw at each n-th validation; ``validate`` and ``test`` always draw.
    """

    def __init__(
        self, draw: DrawOverlay, folder: str | Path, num_cases: int = 2, every_n_validations: int = 5
    ) -> None:
        self.draw, self.folder = draw, Path(folder)
        self.num_cases, self.every_n_validations = num_cases, every_n_validations
        self._validations = 0

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the visits."""
        del pl_module
        self._validations += not trainer.sanity_checking

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw where the case is one of the fixed ones and the visit is due."""
        due = trainer.state.fn != "fit" or (self._validations - 1) % self.every_n_validations == 0
        if due and not trainer.sanity_checking:
            self.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first cases of rank 0."""
        del dataloader_idx
        if not trainer.is_global_zero or batch_idx >= self.num_cases:
            return
        plan = pl_module.plan
        assert isinstance(plan, Plan)
        path = self.folder / f"{outputs['case_id']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.draw(
            batch["image"][0, 0].float().cpu().numpy(),
            batch["target"][0, 0].cpu().numpy(),
            outputs["labels"].cpu().numpy(),
            plan.spacing_mm,
            path=path,
            label_names=plan.label_names,
            title=str(outputs["case_id"]),
        )
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("overlay", [str(path)], caption=[str(outputs["case_id"])])
