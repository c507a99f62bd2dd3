"""What a run does beside training: reports, pictures, safety, exact resumption."""

from medconv.training.callbacks.last_checkpoint import LastCheckpoint
from medconv.training.callbacks.pictures import OverlayPictures
from medconv.training.callbacks.random_state import RandomState
from medconv.training.callbacks.reports import DataWait, EpochReport
from medconv.training.callbacks.stability import StopOnNonFinite

__all__ = ["DataWait", "EpochReport", "LastCheckpoint", "OverlayPictures", "RandomState", "StopOnNonFinite"]
