"""Training: the task, the one door that builds it, and what a run does beside it.

A network is received, never named: any ``SegmentationModel`` trains here.
"""

from medconv.training.build import build_task
from medconv.training.callbacks import (
    AverageWeights,
    DataWait,
    EpochReport,
    FewSteps,
    GroupLasso,
    LastCheckpoint,
    OverlayPictures,
    PruneGradually,
    RandomState,
    RegrowWeights,
    SplitsRecord,
    StepProgress,
    StopOnNonFinite,
    TemperatureSchedule,
)
from medconv.training.checkpoint_io import AtomicCheckpointIO, last_whole_checkpoint
from medconv.training.task import SegmentationTask

__all__ = [
    "AtomicCheckpointIO",
    "AverageWeights",
    "DataWait",
    "EpochReport",
    "FewSteps",
    "GroupLasso",
    "LastCheckpoint",
    "OverlayPictures",
    "PruneGradually",
    "RandomState",
    "RegrowWeights",
    "SegmentationTask",
    "SplitsRecord",
    "StepProgress",
    "StopOnNonFinite",
    "TemperatureSchedule",
    "build_task",
    "last_whole_checkpoint",
]
