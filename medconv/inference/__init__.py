"""From a checkpoint and a volume to labels: reading what was trained, and using it on what was not seen.

``load(path)`` gives a ``Predictor``; ``sliding_window`` and ``mirror_average`` take any network; checkpoints
are read here and nowhere else. Nothing in this room needs Lightning.
"""

from medconv.inference.case_stages import CaseResult
from medconv.inference.cases import predict_case, predict_cases
from medconv.inference.checkpoint import SCHEMA, Checkpoint, pack, read_checkpoint
from medconv.inference.inputs import InputCase, collect_inputs
from medconv.inference.outputs import plan_outputs
from medconv.inference.postprocess import Postprocessing, Rule
from medconv.inference.prediction import Prediction
from medconv.inference.predictor import Predictor
from medconv.inference.separation import Separation, separate
from medconv.inference.shards import announce_memory, shard_cases
from medconv.inference.tta import mirror_average
from medconv.inference.tune_postprocessing import PostprocessingTuner, Tuned
from medconv.inference.window import sliding_window
from medconv.planning import mirror_axes

load = Predictor.from_checkpoint

__all__ = [
    "SCHEMA",
    "CaseResult",
    "Checkpoint",
    "InputCase",
    "Postprocessing",
    "PostprocessingTuner",
    "Prediction",
    "Predictor",
    "Rule",
    "Separation",
    "Tuned",
    "announce_memory",
    "collect_inputs",
    "load",
    "mirror_average",
    "mirror_axes",
    "pack",
    "plan_outputs",
    "predict_case",
    "predict_cases",
    "read_checkpoint",
    "separate",
    "shard_cases",
    "sliding_window",
]
