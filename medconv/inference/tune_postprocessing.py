"""Which rule helps which class, found on validation cases: a rule is taken only where the mean Dice rises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

from medconv.errors import DatasetError, ShapeError
from medconv.inference.postprocess import Postprocessing, Rule

_SHARES = (0.1, 0.25, 0.5)
"""Smallest volumes that are tried, as shares of the smallest component, and of the smallest sum, in any reference."""

_STEP = 1e-9
"""Gains below this are rounding."""


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Args:
        postprocessing: The rules that help.
        before: Mean Dice of each class without any rule.
        after: Of each class with its rule.
        num_cases: Cases that decided.
    """

    postprocessing: Postprocessing
    before: Mapping[int, float]
    after: Mapping[int, float]
    num_cases: int


@dataclass
class PostprocessingTuner:
    """Counts the overlap that each rule would give, case by case; no case is kept.

    Thresholds of volume are shares of the smallest reference structure, which is known only after all references were
    seen: give those to :meth:`see_reference` first, then each case to :meth:`add`.

    Args:
        num_classes: ``K``, background included.

    Example:
        >>> prediction = np.array([[1, 0, 1, 1], [0, 0, 1, 1]], dtype=np.uint8)
        >>> reference = np.array([[0, 0, 1, 1], [0, 0, 1, 1]], dtype=np.uint8)
        >>> tuner = PostprocessingTuner(2)
        >>> tuner.see_reference(reference, (1.0, 1.0))
        >>> tuner.add(prediction, reference, (1.0, 1.0))
        >>> tuner.result().postprocessing.rules
        {1: Rule(largest_component=True, fill_holes=False, min_volume_ml=0.0)}
    """

    num_classes: int
    _smallest_ml: dict[int, tuple[float, float]] = field(default_factory=dict)
    _scores: dict[int, dict[Rule, list[float]]] = field(default_factory=dict)
    _num_cases: int = 0

    def see_reference(self, reference: npt.NDArray[Any], spacing_mm: Sequence[float]) -> None:
        """Note how small structures can be."""
        for label, box in enumerate(scipy.ndimage.find_objects(reference, self.num_classes - 1), start=1):
            if box is not None:
                components, _ = scipy.ndimage.label(reference[box] == label, np.ones((3,) * reference.ndim))
                voxels = np.bincount(components.ravel())[1:]
                here = np.array([voxels.min(), voxels.sum()]) * prod(spacing_mm) / 1000
                least = np.minimum(here, self._smallest_ml.get(label, (np.inf, np.inf)))
                self._smallest_ml[label] = float(least[0]), float(least[1])

    def add(
        self, prediction: npt.NDArray[Any], reference: npt.NDArray[Any], spacing_mm: Sequence[float]
    ) -> None:
        """Count one case.

        Raises:
            ShapeError: The two have different shapes.
        """
        if prediction.shape != reference.shape:
            raise ShapeError(f"expected labels of one shape, got {prediction.shape} and {reference.shape}")
        self._num_cases += 1
        boxes = scipy.ndimage.find_objects(prediction, self.num_classes - 1)
        for label, box in enumerate(boxes, start=1):
            truth = reference == label
            voxels, here = int(truth.sum()), _with_margin(box, prediction.shape)
            part, truth = prediction[here], truth[here]
            scores = self._scores.setdefault(label, {})
            for rule in candidate_rules(self._smallest_ml.get(label, ())):
                done = Postprocessing({label: rule}).apply(part, spacing_mm)
                scores.setdefault(rule, []).append(_dice(done == label, truth, voxels))

    def result(self) -> Tuned:
        """The best rule of each class; the simplest one among equals, and none where none helps.

        Raises:
            DatasetError: No case was added.
        """
        if not self._num_cases:
            raise DatasetError("expected at least one validation case with a prediction, got none")
        rules, before, after = {}, {}, {}
        for label, scores in self._scores.items():
            means = {rule: float(np.mean(values)) for rule, values in scores.items()}
            before[label] = means[Rule()]
            best = Rule()
            for rule, mean in means.items():
                best = rule if mean > means[best] + _STEP else best
            after[label] = means[best]
            if not best.is_idle:
                rules[label] = best
        return Tuned(Postprocessing(rules), before, after, self._num_cases)


def candidate_rules(smallest_ml: Iterable[float]) -> list[Rule]:
    """What is tried for a class, the simplest first.

    Args:
        smallest_ml: Volumes of the smallest structures in any reference; none: the class is in no reference.

    Example:
        >>> len(candidate_rules(())), len(candidate_rules([2.0]))
        (4, 16)
    """
    volumes = sorted({0.0, *(share * volume for share in _SHARES for volume in smallest_ml)})
    rules = [
        Rule(largest, holes, volume)
        for volume, largest, holes in product(volumes, (False, True), (False, True))
    ]
    return sorted(rules, key=lambda rule: rule.largest_component + rule.fill_holes + (rule.min_volume_ml > 0))


def _with_margin(box: tuple[slice, ...] | None, shape: Sequence[int]) -> tuple[slice, ...]:
    """Where rules change a class in a box: one voxel more, or an axis of many would look like one of one."""
    if box is None:  # nowhere
        return tuple(slice(0, 1) for _ in shape)
    return tuple(slice(max(0, s.start - 1), min(n, s.stop + 1)) for s, n in zip(box, shape, strict=True))


def _dice(mask: npt.NDArray[Any], truth: npt.NDArray[Any], truth_voxels: int) -> float:
    """Dice of a part that holds all of the mask; 1 where both are empty, so that removing what is not there counts."""
    total = int(mask.sum()) + truth_voxels
    return 2 * int((mask & truth).sum()) / total if total else 1.0
