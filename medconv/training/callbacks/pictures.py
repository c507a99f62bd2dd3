"""Overlay pictures: the same cases at every visit while a network learns, the worst ones when it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
from lightning.pytorch.loggers import WandbLogger

from medconv.metrics import CaseRow
from medconv.metrics.summary import case_means, in_the_mean
from medconv.planning import Plan
from medconv.training.measuring import Objects, Rows

DrawOverlay = Callable[..., Any]

_NAMED = 6
"""So many structures have room in a heading."""


@dataclass(frozen=True, eq=False)
class _Predicted:
    """A case that may turn out to be one of the worst; its image stays on disk until then."""

    case_id: str
    batch_idx: int
    labels: npt.NDArray[Any]
    rows: Rows
    objects: Objects | None = None

    @classmethod
    def of(cls, outputs: Mapping[str, Any], batch_idx: int) -> _Predicted:
        """From what a step returns."""
        labels = outputs["labels"].cpu().numpy()
        return cls(outputs["case_id"], batch_idx, labels, outputs["rows"], outputs.get("objects"))

    @property
    def badness(self) -> tuple[bool, float, str]:
        """Sorts as the report does: by mean Dice over structures, cases without any structure last."""
        rows = self.rows.result()
        counted = in_the_mean(row.label for row in rows)
        (mean,) = case_means([row for row in rows if row.label in counted], "dice", "diagonal").values()
        return isnan(mean), mean, self.case_id


class OverlayPictures(pl.Callback):
    """Draw truth and prediction as PNG files, and send them to Weights & Biases where it logs.

    Every process draws the worst of its own cases, so those of all processes are among them.

    Args:
        draw: ``medconv.reporting.draw_overlay`` or anything with its arguments; handed in, because pictures are
            made on a higher storey than training.
        folder: Where the files go: ``<folder>/<case>.png``, overwritten at each visit.
        num_cases: How many cases while training, the first ones of the validation set.
        every_n_validations: Draw these at each n-th validation.
        num_worst: How many cases in ``validate`` and ``test``, those with the lowest mean Dice.
        draw_objects: ``medconv.reporting.draw_object_overlay``: draws instead where a network tells objects apart.
    """

    def __init__(
        self,
        draw: DrawOverlay,
        folder: str | Path,
        num_cases: int = 2,
        every_n_validations: int = 5,
        num_worst: int = 8,
        draw_objects: DrawOverlay | None = None,
    ) -> None:
        self.draw, self.draw_objects, self.folder = draw, draw_objects, Path(folder)
        self.num_cases, self.every_n_validations, self.num_worst = num_cases, every_n_validations, num_worst
        self._validations = 0
        self._worst: list[_Predicted] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the visits."""
        del pl_module
        self._validations += not trainer.sanity_checking
        self._worst = []

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with no case."""
        del trainer, pl_module
        self._worst = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw where the case is one of the fixed ones and the visit is due; outside training, see below."""
        if trainer.state.fn != "fit":
            self.on_test_batch_end(trainer, pl_module, outputs, batch, batch_idx, dataloader_idx)
            return
        due = (self._validations - 1) % self.every_n_validations == 0 and batch_idx < self.num_cases
        if due and trainer.is_global_zero and not trainer.sanity_checking:
            self._draw(trainer, pl_module, _Predicted.of(outputs, batch_idx), batch)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the prediction for as long as the case is among the worst."""
        del trainer, pl_module, batch, dataloader_idx
        self._worst.append(_Predicted.of(outputs, batch_idx))
        measured = [case for case in self._worst if case.rows.done()]
        for case in sorted(measured, key=lambda case: case.badness)[self.num_worst :]:
            self._worst.remove(case)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the worst cases, outside training."""
        if trainer.state.fn != "fit":
            self._draw_worst(trainer, pl_module, trainer.val_dataloaders)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the worst cases."""
        self._draw_worst(trainer, pl_module, trainer.test_dataloaders)

    def _draw_worst(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loader: Any) -> None:
        places = list(loader.sampler) if self._worst else []
        for case in sorted(self._worst, key=lambda case: case.badness)[: self.num_worst]:
            batch = loader.dataset[places[case.batch_idx]]
            self._draw(trainer, pl_module, case, batch, at_disagreement=True)
        self._worst = []

    def _draw(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        case: _Predicted,
        batch: Mapping[str, Any],
        **settings: Any,
    ) -> None:
        plan = pl_module.plan
        assert isinstance(plan, Plan)
        path = self.folder / f"{case.case_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image, target = (batch[name][0, 0].float().cpu().numpy() for name in ("image", "target"))
        if case.objects is not None and self.draw_objects is not None:
            truth, found = (_without_slice(side) for side in (batch["label"], case.objects.result()))
            self.draw_objects(image, truth, found, path=path, title=case.case_id)
        else:
            self.draw(
                image,
                target.astype(case.labels.dtype),
                case.labels,
                plan.spacing_mm,
                path=path,
                label_names=plan.label_names,
                unit=plan.unit,
                title=case.case_id,
                # as the table has it, on the stored grid; the picture shows the network's
                note=_dice_of(case.rows.result()),
                **settings,
            )
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("overlay", [str(path)], caption=[case.case_id])


def _without_slice(objects: Any) -> npt.NDArray[Any]:
    """A single image is stored as a stack of one."""
    stored = np.asarray(objects)
    return stored[..., 0] if stored.ndim == 3 and stored.shape[-1] == 1 else stored


def _dice_of(rows: Sequence[CaseRow]) -> str:
    """The Dice of each structure by name while there are few, else the mean."""
    known = [row for row in rows if not isnan(row.dice)]
    if not known:
        return "no structure in truth or prediction"
    if len(known) > _NAMED:
        return f"mean Dice of {len(known)} structures {sum(row.dice for row in known) / len(known):.3f}"
    return "Dice:  " + "   ".join(f"{row.name} {row.dice:.3f}" for row in known)
