"""Training: the task, the one door that builds it, and what a run does beside it.

A network is received, never named: any ``SegmentationModel`` trains here.
"""

from medconv.training.build import build_task
from medconv.training.callbacks import (
    DataWait,
    EpochReport,
    LastCheckpoint,
    OverlayPictures,
    RandomState,
    StopOnNonFinite,
)
from medconv.training.checkpoint_io import AtomicCheckpointIO, last_whole_checkpoint
from medconv.training.task import SegmentationTask

__all__ = [
    "AtomicCheckpointIO",
    "DataWait",
    "EpochReport",
    "LastCheckpoint",
    "OverlayPictures",
    "RandomState",
    "SegmentationTask",
    "StopOnNonFinite",
    "build_task",
    "last_whole_checkpoint",
]
