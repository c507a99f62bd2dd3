"""What watches every run: reports, pictures, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar

from medconv.datamodules.splits_file import SPLITS_FILE
from medconv.reporting import draw_object_overlay, draw_overlay
from medconv.reporting.report import WORST_SHOWN
from medconv.training import (
    DataWait,
    EpochReport,
    FewSteps,
    LastCheckpoint,
    OverlayPictures,
    RandomState,
    SplitsRecord,
    StepProgress,
    StopOnNonFinite,
)


def watchers(command: str, folder: Path) -> list[Callback]:
    """The callbacks of a command that writes into ``folder``."""
    pictures = OverlayPictures(
        draw_overlay, folder / "overlays", num_worst=WORST_SHOWN, draw_objects=draw_object_overlay
    )
    if command != "fit":
        return [pictures]
    common: dict[str, Any] = {
        "dirpath": folder,
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    return [
        DataWait(),
        EpochReport(),
        FewSteps(),
        RandomState(),
        SplitsRecord(folder / SPLITS_FILE),
        StopOnNonFinite(),
        pictures,
        ModelCheckpoint(filename="best", monitor="val/dice", mode="max", **common),
        LastCheckpoint(filename="last", save_on_train_epoch_end=True, save_on_exception=True, **common),
    ]


def progress_bar(command: str, trainer: Namespace) -> list[Callback]:
    """Ours for training, unless the user has one or wants none."""
    callbacks = trainer.get("callbacks") or []
    given = callbacks if isinstance(callbacks, list) else [callbacks]
    wanted = command == "fit" and trainer.get("enable_progress_bar") is not False
    return [StepProgress()] if wanted and not any(isinstance(c, ProgressBar) for c in given) else []
