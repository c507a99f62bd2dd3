"""A volume between the networks and its labels: what is left to do needs no device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.inference.byte_plan import BytePlan
from medconv.inference.postprocess import Postprocessing
from medconv.inference.prediction import Prediction
from medconv.inference.separation import separate
from medconv.inference.stopwatch import Stopwatch
from medconv.io import Volume
from medconv.planning import Plan


@dataclass(eq=False)
class Undecided:
    """What networks said about a volume, on the host.

    Args:
        said: Labels ``(*S)``, not cleaned yet; or of single objects the fields ``(2, *S)``, see ``instance_fields``.
            ``None`` once it is decided, so that its memory is free.
        volume: The input.
        seconds: Spent per stage.
        notes: See ``Prediction``.
        probabilities: See ``Prediction``.
        byte_plan: See ``Prediction``.
    """

    said: npt.NDArray[Any] | None
    volume: Volume
    seconds: Mapping[str, float]
    notes: tuple[str, ...]
    probabilities: npt.NDArray[np.floating] | None
    byte_plan: BytePlan


def decide(case: Undecided, plan: Plan, postprocessing: Postprocessing) -> Prediction:
    """Tell objects apart, or clean labels.

    Args:
        case: What the networks said is let go of here, so it is decided once.
        plan: Of the networks.
        postprocessing: Thresholds for objects, or rules for labels.
    """
    watch = Stopwatch()  # which does not wait for what a device computes of the next volume
    labels, case.said = case.said, None
    assert labels is not None, "a case is decided once"
    if plan.instances is not None:
        with watch.stage("separate"):
            labels = separate(labels, postprocessing.separation)
    if postprocessing.rules:
        with watch.stage("postprocess"):
            labels = postprocessing.apply(labels, case.volume.geometry.spacing_mm)
    return Prediction(
        labels,
        case.volume,
        dict(plan.declared.names),
        {**case.seconds, **watch.seconds},
        case.notes,
        case.probabilities,
        case.byte_plan,
        plan.regions_class_order,
        plan.instances is not None,
    )
