"""Whether a network is right as often as it says: reliability curve and expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import ConfigError, ShapeError
from medconv.metrics.grid import LabelMap
from medconv.types import FloatArray

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ReliabilityCurve:
    """Voxels sorted into bins of equal width by how sure the network was; curves of many cases add up.

    Args:
        voxels: Voxels of each bin, the least sure first.
        sum_confidence: Sum of their confidences.
        correct: How many of them were right.

    Example:
        >>> a = reliability_curve(np.array([[0.1, 0.45], [0.9, 0.55]]), np.array([1, 0]), bins=5)
        >>> b = reliability_curve(np.array([[0.3], [0.7]]), np.array([1]), bins=5)
        >>> both = a + b
        >>> both.voxels.tolist(), both.accuracy.round(2).tolist()
        ([0, 0, 1, 1, 1], [nan, nan, 0.0, 1.0, 1.0])
        >>> round(both.expected_error, 4), round(both.largest_error, 4)
        (0.3167, 0.55)
    """

    voxels: Counts
    sum_confidence: FloatArray
    correct: Counts

    def __add__(self, other: ReliabilityCurve) -> ReliabilityCurve:
        if len(self.voxels) != len(other.voxels):
            raise ConfigError(
                f"expected curves of one number of bins, got {len(self.voxels)} and {len(other.voxels)}"
            )
        return ReliabilityCurve(
            self.voxels + other.voxels,
            self.sum_confidence + other.sum_confidence,
            self.correct + other.correct,
        )

    @property
    def confidence(self) -> FloatArray:
        """Mean confidence in each bin; nan where it is empty."""
        return _share(self.sum_confidence, self.voxels)

    @property
    def accuracy(self) -> FloatArray:
        """Share of each bin that was right; nan where it is empty."""
        return _share(self.correct.astype(np.float64), self.voxels)

    @property
    def expected_error(self) -> float:
        r"""Expected calibration error: mean distance between confidence and accuracy over all voxels.

        .. math:: ECE = \sum_b \frac{n_b}{n} |acc_b - conf_b|

        Nearly all voxels of a volume are easy background, so a small value says little about the boundary;
        measure one structure by ``label``, or hand over only the voxels near it.

        Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017.
        """
        total = int(self.voxels.sum())
        return float(np.abs(self.correct - self.sum_confidence).sum() / total) if total else nan

    @property
    def largest_error(self) -> float:
        """Maximum calibration error: the largest distance among the bins that are not empty."""
        gaps = np.abs(self.accuracy - self.confidence)[self.voxels > 0]
        return float(gaps.max()) if len(gaps) else nan


def reliability_curve(
    probabilities: Any, ref: Any, bins: int = 15, label: int | None = None
) -> ReliabilityCurve:
    """Compare how sure a network was with how often it was right.

    Args:
        probabilities: Of each class, ``(K, *S)``, 0 to 1 (after softmax or sigmoid).
        ref: Integer labels ``(*S)``, 0 to ``K - 1``.
        bins: Bins of equal width from 0 to 1, each holds its upper end.
        label: None judges the class that the network would choose, by the probability it gave it; a number
            judges that class alone, by its probability against whether it is there.

    Raises:
        ShapeError: The shapes do not fit, the reference is not integer, or holds a label that has no class.
        ConfigError: A probability outside 0 to 1 or nan, no bin, or an unknown label.

    Cost:
        A few passes over the probabilities.

    Example:
        >>> curve = reliability_curve(np.array([[0.2, 0.2, 0.2, 0.2], [0.8, 0.8, 0.8, 0.8]]), np.array([1, 1, 1, 0]))
        >>> round(curve.expected_error, 3)
        0.05
    """
    p, labels = _checked(probabilities, ref, bins, label)
    if label is None:
        chosen = p.argmax(axis=0)
        confidence, right = np.take_along_axis(p, chosen[None], axis=0)[0], chosen == labels
    else:
        confidence, right = p[label], labels == label
    confidence, right = confidence.ravel(), right.ravel()
    place = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)
    return ReliabilityCurve(
        np.bincount(place, minlength=bins).astype(np.int64),
        np.bincount(place, confidence, minlength=bins).astype(np.float64),
        np.bincount(place[right], minlength=bins).astype(np.int64),
    )


def expected_calibration_error(
    probabilities: Any, ref: Any, bins: int = 15, label: int | None = None
) -> float:
    """Expected calibration error, 0 (best) to 1; see ``reliability_curve`` for the arguments.

    Example:
        >>> expected_calibration_error(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 0]))
        0.0
    """
    return reliability_curve(probabilities, ref, bins, label).expected_error


def _checked(probabilities: Any, ref: Any, bins: int, label: int | None) -> tuple[FloatArray, LabelMap]:
    p, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(ref)
    if p.ndim < 2 or p.shape[1:] != labels.shape or labels.dtype.kind not in "biu":
        raise ShapeError(
            f"expected probabilities (K, *S) and integer labels (*S), got {p.shape} and {labels.shape} "
            f"of {labels.dtype}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < len(p):
        raise ShapeError(f"expected labels 0 … {len(p) - 1}, got {labels.min()} … {labels.max()}")
    if not np.all((p >= 0) & (p <= 1)):
        raise ConfigError(
            "expected probabilities from 0 to 1, got others or nan; apply softmax or sigmoid first"
        )
    if bins < 1:
        raise ConfigError(f"expected at least one bin, got {bins}")
    if label is not None and not 0 <= label < len(p):
        raise ConfigError(f"expected a label from 0 to {len(p) - 1}, got {label}")
    return p, labels


def _share(part: FloatArray, whole: Counts) -> FloatArray:
    result: FloatArray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return result
