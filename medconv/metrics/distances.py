"""The distances between two surfaces, and every statistic that is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from medconv.errors import ConfigError
from medconv.metrics.convention import Directions
from medconv.types import FloatArray


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Every distance from one surface to the other, both ways; all statistics come from these two lists.

    Where only one surface exists its distances are infinite and the other list is empty; where none exists
    both lists are empty and every statistic is nan.

    Args:
        pred_to_ref_mm: For each element of the prediction's surface, the distance to the reference's.
        ref_to_pred_mm: For each element of the reference's surface, the distance to the prediction's.
        pred_area: Area of each element in mm² (length in mm in 2-D); None where all count alike.
        ref_area: Likewise.

    Example:
        >>> from medconv.metrics import surface_distances
        >>> pred, ref = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> pred[2:5, 2:5], ref[2:5, 3:6] = True, True
        >>> distances = surface_distances(pred, ref, spacing_mm=(1.0, 0.5))
        >>> distances.hausdorff_mm(), distances.hausdorff_mm(95), distances.assd_mm(), distances.within(0.4)
        (0.5, 0.5, 0.25, 0.5)
    """

    pred_to_ref_mm: FloatArray
    ref_to_pred_mm: FloatArray
    pred_area: FloatArray | None = None
    ref_area: FloatArray | None = None

    def hausdorff_mm(self, percentile: float = 100.0, directions: Directions = "directed_max") -> float:
        r"""Hausdorff distance, or a percentile of the distances that spares it the outliers.

        .. math:: HD_p = \max(P_p\{d(x, R)\}_{x \in P}, P_p\{d(x, P)\}_{x \in R})

        Args:
            percentile: 0 to 100; 100 is the Hausdorff distance, 95 the usual ``hd95_mm``.
            directions: ``"directed_max"`` takes the larger of the two percentiles (MONAI, Metrics Reloaded);
                ``"pooled"`` the percentile of both lists together (MedPy). They can differ by far: an island
                with 6 % of one surface counts fully in the first and not at all in the second.

        Raises:
            ConfigError: A percentile outside 0 to 100, or unknown ``directions``.

        Source: Huttenlocher et al., TPAMI 1993; percentile: Metrics Reloaded, Nature Methods 2024.
        """
        check_percentile(percentile, directions)
        if not self._both_exist:
            return self._without_partner(np.inf)
        if directions == "pooled":
            (forth, pred_area), (back, ref_area) = self._sides
            area = None if pred_area is None or ref_area is None else np.concatenate([pred_area, ref_area])
            return _percentile(np.concatenate([forth, back]), area, percentile)
        return max(_percentile(d, area, percentile) for d, area in self._sides)

    def assd_mm(self) -> float:
        """Average symmetric surface distance: the mean over both surfaces together."""
        if not self._both_exist:
            return self._without_partner(np.inf)
        return sum(_total(d, area) for d, area in self._sides) / self._area

    def masd_mm(self) -> float:
        """Mean of the two directed mean distances; each surface weighs the same, however large it is.

        Source: Metrics Reloaded, Nature Methods 2024.
        """
        if not self._both_exist:
            return self._without_partner(np.inf)
        return (
            sum(_total(d, area) / (len(d) if area is None else float(area.sum())) for d, area in self._sides)
            / 2
        )

    def within(self, tolerance_mm: float) -> float:
        """Share of both surfaces that lies within a tolerance of the other (normalised surface Dice), 0 to 1.

        Source: Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", JMIR 2021.
        """
        if not self._both_exist:
            return self._without_partner(0.0)
        # 3 · 0.7 mm is one rounding error longer than 2.1 mm, and still within 2.1 mm
        limit_mm = tolerance_mm * (1 + 1e-6)
        near = sum(_total((d <= limit_mm).astype(np.float64), area) for d, area in self._sides)
        return min(1.0, near / self._area)

    @property
    def _sides(self) -> tuple[tuple[FloatArray, FloatArray | None], tuple[FloatArray, FloatArray | None]]:
        return (self.pred_to_ref_mm, self.pred_area), (self.ref_to_pred_mm, self.ref_area)

    @property
    def _area(self) -> float:
        return sum(len(d) if area is None else float(area.sum()) for d, area in self._sides)

    @property
    def _both_exist(self) -> bool:
        return len(self.pred_to_ref_mm) > 0 and len(self.ref_to_pred_mm) > 0

    def _without_partner(self, worst: float) -> float:
        return worst if len(self.pred_to_ref_mm) or len(self.ref_to_pred_mm) else np.nan


def check_percentile(percentile: float, directions: str) -> None:
    """Refuse what ``SurfaceDistances.hausdorff_mm`` cannot compute.

    Raises:
        ConfigError: A percentile outside 0 to 100, or unknown ``directions``.
    """
    if not 0 <= percentile <= 100:
        raise ConfigError(f"expected a percentile from 0 to 100, got {percentile}")
    if directions not in get_args(Directions):
        raise ConfigError(f"expected directions 'directed_max' or 'pooled', got {directions!r}")


def ranks(n: int, percentile: float) -> tuple[int, int, float]:
    """The two ranks among ``n`` sorted values between which a percentile lies, and how far from the first.

    Example:
        >>> ranks(5, 95)
        (3, 4, 0.7999999999999998)
    """
    place = percentile / 100 * (n - 1)
    below = int(place)
    return below, min(below + 1, n - 1), place - below


def _total(values: FloatArray, area: FloatArray | None) -> float:
    return float(values.sum() if area is None else area @ values)


def _percentile(distances_mm: FloatArray, area: FloatArray | None, percentile: float) -> float:
    """Interpolated as ``np.percentile`` does where all count alike; the first beyond the area otherwise."""
    if percentile == 100:
        return float(distances_mm.max())
    if area is not None:
        order = np.argsort(distances_mm)
        share = np.cumsum(area[order]) / area.sum()
        place = min(int(np.searchsorted(share, percentile / 100)), len(order) - 1)
        return float(distances_mm[order[place]])
    # np.percentile would sort out more than it is asked for
    below, above, weight = ranks(len(distances_mm), percentile)
    ordered = np.partition(distances_mm, [below, above])
    return float(ordered[below] + (ordered[above] - ordered[below]) * weight)
