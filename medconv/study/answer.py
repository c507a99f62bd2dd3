"""What a network says of a volume: labels, and where they are asked for probabilities that nothing has rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.inference import Predictor
from medconv.io import Volume


@dataclass(frozen=True, eq=False)
class Arm:
    """One of several networks that are looked at side by side.

    Args:
        name: What it is called.
        predictor: The network, ready.
    """

    name: str
    predictor: Predictor


@dataclass(frozen=True, eq=False)
class Answer:
    """What a network says of a volume.

    Args:
        labels: ``(*S)``, three axes.
        probabilities: ``(K, *S)`` float32, or none.
    """

    labels: npt.NDArray[Any]
    probabilities: npt.NDArray[np.floating] | None = None


def ask(arm: Arm, volume: Volume, *, probabilities: bool = False) -> Answer:
    """Have a network label a volume.

    Args:
        arm: The network.
        volume: With as many channels as its plan.
        probabilities: Keep them, in float32: those of ``Predictor.predict`` are rounded to three digits, and what
            is asked of a symmetric network is five. ``4 K prod(S)`` bytes.

    Raises:
        MedconvError: It does not fit into memory in any way.
    """
    found = arm.predictor.segment(volume, probabilities=probabilities, probability_type=np.float32)
    return Answer(found.labels.reshape(volume.shape), found.probabilities)
