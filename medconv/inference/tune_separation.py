"""Which thresholds tell objects apart best, found on validation images.

No name of this module is one of the room's: predicting would load the libraries of measuring with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import DatasetError, ShapeError
from medconv.inference.separation import Fields, Separation, separate
from medconv.metrics import InstanceOverlap, instance_overlap

MASK_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
SEED_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

_SHARES = (0.25, 0.5)
"""Smallest sizes that are tried, as shares of the smallest object in any reference."""

_STEP = 1e-9
"""Gains below this are rounding."""


@dataclass(frozen=True)
class TunedSeparation:
    """What was found.

    Args:
        separation: The best thresholds.
        before: Mean panoptic quality with the usual thresholds.
        after: With the best ones.
        num_cases: Images that decided.
    """

    separation: Separation
    before: float
    after: float
    num_cases: int


@dataclass
class SeparationTuner:
    """Measures the panoptic quality that each choice of thresholds would give, image by image; no image is kept.

    Smallest sizes are shares of the smallest reference object, which is known only after all references were seen:
    give those to :meth:`see_reference` first, then each image to :meth:`add`.

    Args:
        mask_thresholds: That are tried.
        seed_thresholds: That are tried.

    Example:
        >>> height = np.array([[0.0, 0.9, 0.75, 0.9, 0.0]])
        >>> fields, reference = np.stack([height, height]), np.array([[0, 1, 1, 2, 0]])
        >>> tuner = SeparationTuner()
        >>> tuner.see_reference(reference)
        >>> tuner.add(fields, reference)
        >>> tuned = tuner.result()
        >>> tuned.separation.seed_threshold, round(tuned.before, 2), tuned.after
        (0.8, 0.44, 1.0)
    """

    mask_thresholds: Sequence[float] = MASK_THRESHOLDS
    seed_thresholds: Sequence[float] = SEED_THRESHOLDS
    _smallest: int | None = None
    _scores: dict[Separation, list[float]] = field(default_factory=dict)
    _num_cases: int = 0

    def see_reference(self, reference: npt.NDArray[Any]) -> None:
        """Note how small objects can be."""
        sizes = instance_overlap(reference, reference).ref_sizes
        if len(sizes):
            self._smallest = min(int(sizes.min()), self._smallest or int(sizes.min()))

    def add(self, fields: Fields, reference: npt.NDArray[Any]) -> None:
        """Try every choice on one image.

        Args:
            fields: ``(2, *S)``, of ``Predictor.fields``.
            reference: ``(*S)``, one number an object.

        Raises:
            ShapeError: The two have different shapes.
        """
        if fields.shape[1:] != reference.shape:
            raise ShapeError(f"expected fields of the shape {reference.shape}, got {fields.shape[1:]}")
        self._num_cases += 1
        choices = {(s.mask_threshold, s.seed_threshold): s for s in self._choices()}
        sizes = [1, *sorted({int(share * (self._smallest or 0)) for share in _SHARES} - {0, 1})]
        for choice in choices.values():
            overlap = instance_overlap(separate(fields, choice), reference)
            for least in sizes:
                score = _quality(_without_small(overlap, least))
                self._scores.setdefault(replace(choice, min_voxels=least), []).append(score)

    def result(self) -> TunedSeparation:
        """The best choice; among equal ones the nearest to the usual.

        Raises:
            DatasetError: No image was added.
        """
        if not self._num_cases:
            raise DatasetError("expected at least one validation image with a reference, got none")
        means = {choice: float(np.mean(scores)) for choice, scores in self._scores.items()}
        usual = Separation()
        best = max(means.values()) - _STEP
        chosen = min((choice for choice in means if means[choice] >= best), key=_strangeness)
        return TunedSeparation(chosen, means[usual], means[chosen], self._num_cases)

    def _choices(self) -> list[Separation]:
        tried = [Separation(*pair) for pair in product(self.mask_thresholds, self.seed_thresholds)]
        return [Separation(), *tried]


def _strangeness(choice: Separation) -> tuple[float, int]:
    usual = Separation()
    away = abs(choice.mask_threshold - usual.mask_threshold) + abs(
        choice.seed_threshold - usual.seed_threshold
    )
    return round(away, 6), choice.min_voxels


def _without_small(overlap: InstanceOverlap, min_voxels: int) -> InstanceOverlap:
    """The overlaps that are left without small predictions."""
    kept = overlap.pred_sizes >= min_voxels
    places = np.cumsum(kept) - 1
    pairs = kept[overlap.pred_index]
    return InstanceOverlap(
        overlap.ref_sizes,
        overlap.pred_sizes[kept],
        overlap.ref_index[pairs],
        places[overlap.pred_index[pairs]],
        overlap.shared[pairs],
    )


def _quality(overlap: InstanceOverlap) -> float:
    """The panoptic quality; 1 where there is no object on either side, so that inventing none counts."""
    quality = overlap.scores(0.5, inclusive=False).panoptic_quality
    return 1.0 if isnan(quality) else quality
