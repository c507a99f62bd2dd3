"""What a run does beside training: reports, pictures, safety, exact resumption."""

from medconv.training.callbacks.average_weights import AverageWeights
from medconv.training.callbacks.few_steps import FewSteps
from medconv.training.callbacks.last_checkpoint import LastCheckpoint
from medconv.training.callbacks.pictures import OverlayPictures
from medconv.training.callbacks.random_state import RandomState
from medconv.training.callbacks.reports import DataWait, EpochReport
from medconv.training.callbacks.sparsity import GroupLasso, PruneGradually, RegrowWeights
from medconv.training.callbacks.splits_record import SplitsRecord
from medconv.training.callbacks.stability import StopOnNonFinite
from medconv.training.callbacks.step_progress import StepProgress
from medconv.training.callbacks.temperature import TemperatureSchedule

__all__ = [
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
    "SplitsRecord",
    "StepProgress",
    "StopOnNonFinite",
    "TemperatureSchedule",
]
