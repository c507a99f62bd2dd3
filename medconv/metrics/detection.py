"""Objects found, missed and invented, and the scores that are made of these counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class InstanceScores:
    """Objects found at one threshold of overlap, in one image or in many.

    Args:
        tp: Matched pairs.
        fp: Predicted objects without a match.
        fn: Reference objects without a match.
        sum_iou: Sum of the matched pairs' intersections over unions.

    Example:
        >>> scores = InstanceScores(tp=3, fp=1, fn=1, sum_iou=2.4)
        >>> scores.average_precision, scores.f1, round(scores.segmentation_quality, 2)
        (0.6, 0.75, 0.8)
    """

    tp: int
    fp: int
    fn: int
    sum_iou: float

    @property
    def average_precision(self) -> float:
        """``TP / (TP + FP + FN)``, as StarDist, Cellpose and DSB 2018 call it; it is not the AP of COCO."""
        return divide(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """``TP / (TP + FP)``; nan where nothing was predicted."""
        return divide(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """``TP / (TP + FN)``; nan where the reference has no object."""
        return divide(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)``, also the recognition quality RQ; nan where there is no object at all."""
        return divide(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def segmentation_quality(self) -> float:
        """SQ: mean intersection over union of the matched pairs; nan where there is none."""
        return divide(self.sum_iou, self.tp)

    @property
    def panoptic_quality(self) -> float:
        """PQ = SQ · RQ = ``sum IoU / (TP + FP / 2 + FN / 2)``; 0 where no pair matches, nan without any object.

        Source: Kirillov et al., "Panoptic segmentation", CVPR 2019.
        """
        return divide(2 * self.sum_iou, 2 * self.tp + self.fp + self.fn)


def pool_scores(scores: Iterable[InstanceScores]) -> InstanceScores:
    """Scores of many images as of one: every object counts alike (StarDist's way).

    The mean of each image's own score is another figure, in which an image with few objects weighs as much.

    Example:
        >>> pool_scores([InstanceScores(9, 1, 0, 8.0), InstanceScores(0, 0, 1, 0.0)])
        InstanceScores(tp=9, fp=1, fn=1, sum_iou=8.0)
    """
    parts = list(scores)
    return InstanceScores(
        tp=sum(s.tp for s in parts),
        fp=sum(s.fp for s in parts),
        fn=sum(s.fn for s in parts),
        sum_iou=sum(s.sum_iou for s in parts),
    )


def divide(part: float, whole: float) -> float:
    """A share; nan of nothing."""
    return float(part / whole) if whole else nan
