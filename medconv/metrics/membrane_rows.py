"""What was counted of the segments of one image at one threshold, and the scores that follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan
from typing import Any

from medconv.metrics.detection import divide
from medconv.metrics.row_text import RowText
from medconv.metrics.scores import MEMBRANE_SCORES


@dataclass(frozen=True)
class MembraneRow:
    """Two partitions of the pixels in the reference's segments.

    Args:
        case_id: Name of the image.
        place: Which slice of a stack; 0 for an image.
        threshold: By which the probability of membrane was cut.
        pixels: In the reference's segments; all others are left out.
        ref_segments: How many there are.
        pred_segments: Segments of the prediction among these pixels.
        joint_squares: Pairs of pixels (in order, and each with itself) in one segment on both sides.
        pred_squares: In one segment of the prediction.
        ref_squares: In one segment of the reference.
        joint_entropy: Entropy of both partitions together, in nat.
        pred_entropy: Of the prediction's.
        ref_entropy: Of the reference's.
    """

    case_id: str
    place: int
    threshold: float
    pixels: int
    ref_segments: int
    pred_segments: int
    joint_squares: int
    pred_squares: int
    ref_squares: int
    joint_entropy: float
    pred_entropy: float
    ref_entropy: float

    @property
    def key(self) -> tuple[str, int, float]:
        """What identifies a row: image, slice, threshold."""
        return self.case_id, self.place, self.threshold

    @cached_property
    def scores(self) -> dict[str, float]:
        """Every score of ``MEMBRANE_SCORES``; nan where the reference has no segment."""
        if not self.pixels:
            return dict.fromkeys(MEMBRANE_SCORES, nan)
        both, pred, ref = self.joint_squares, self.pred_squares, self.ref_squares
        shared = max(0.0, self.pred_entropy + self.ref_entropy - self.joint_entropy)
        # two partitions of one segment each agree, though neither holds any information
        info = [
            1.0 if not whole else min(1.0, divide(shared, whole))
            for whole in (
                (self.pred_entropy + self.ref_entropy) / 2,
                self.pred_entropy,
                self.ref_entropy,
            )
        ]
        figures = (divide(2 * both, pred + ref), divide(both, ref), divide(both, pred), *info)
        return dict(zip(MEMBRANE_SCORES, figures, strict=True))


def _score(name: str) -> Any:
    return lambda row: row.scores[name]


MEMBRANE_ROWS = RowText(MembraneRow, {name: _score(name) for name in MEMBRANE_SCORES})
"""Rows of images and thresholds in a CSV file, the scores beside the counts."""
