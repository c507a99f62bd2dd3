"""Losses: what a training step makes small; logits in, one float32 number out.

A loss sees log-probabilities, so softmax and its logarithm are taken once, in float32, whatever the network
computed in. Every loss works in 2-D and 3-D, on CPU and GPU, compiled or not, and its gradient does not
depend on the order of atomic additions.
"""

from __future__ import annotations

from medconv.losses.base import Loss
from medconv.losses.boundary import BoundaryLoss
from medconv.losses.centerline import CenterlineDiceLoss
from medconv.losses.compound import CompoundLoss, DiceCrossEntropyLoss
from medconv.losses.cross_entropy import CrossEntropyLoss
from medconv.losses.deep_supervision import DeepSupervisionLoss
from medconv.losses.dice import DiceLoss
from medconv.losses.focal import FocalLoss
from medconv.losses.scores import Scores
from medconv.losses.tversky import TverskyLoss

__all__ = [
    "BoundaryLoss",
    "CenterlineDiceLoss",
    "CompoundLoss",
    "CrossEntropyLoss",
    "DeepSupervisionLoss",
    "DiceCrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "Loss",
    "Scores",
    "TverskyLoss",
]
