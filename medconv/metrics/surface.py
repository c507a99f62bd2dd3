"""Distances between surfaces in mm: Hausdorff, its percentiles, the mean, agreement within a tolerance.

A surface is the set of voxel centres whose voxel shares a face with another label or lies at the edge of the
image (the convention of MONAI, MedPy and Metrics Reloaded). Percentiles interpolate linearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from medconv.errors import ConfigError
from medconv.metrics.boundary import Boundary, find_boundary
from medconv.metrics.grid import LabelMap, as_label_maps, as_spacing_mm, crop_to_foreground
from medconv.metrics.nearest import margin_for, nearest_mm
from medconv.types import FloatArray

Directions = Literal["directed_max", "pooled"]

CONVENTION = "surface: voxel centres, face neighbours, image edge counted; hd95: larger of both directions"
"""How the distances of a ``SegmentationTable`` are measured; printed above every table."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Every distance from one surface to the other, both ways; all statistics come from these two lists.

    Where only one surface exists its distances are infinite and the other list is empty; where none exists
    both lists are empty and every statistic is nan.

    Args:
        pred_to_ref_mm: For each voxel of the prediction's surface, the distance to the reference's.
        ref_to_pred_mm: For each voxel of the reference's surface, the distance to the prediction's.

    Example:
        >>> pred, ref = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
        >>> pred[2:5, 2:5], ref[2:5, 3:6] = True, True
        >>> distances = surface_distances(pred, ref, spacing_mm=(1.0, 0.5))
        >>> distances.hausdorff_mm(), distances.hausdorff_mm(95), distances.assd_mm(), distances.within(0.4)
        (0.5, 0.5, 0.25, 0.5)
    """

    pred_to_ref_mm: FloatArray
    ref_to_pred_mm: FloatArray

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
        _check_percentile(percentile, directions)
        if not self._both_exist:
            return self._without_partner(np.inf)
        if directions == "pooled":
            return _percentile(np.concatenate([self.pred_to_ref_mm, self.ref_to_pred_mm]), percentile)
        return max(_percentile(d, percentile) for d in (self.pred_to_ref_mm, self.ref_to_pred_mm))

    def assd_mm(self) -> float:
        """Average symmetric surface distance: the mean over the voxels of both surfaces."""
        if not self._both_exist:
            return self._without_partner(np.inf)
        return float((self.pred_to_ref_mm.sum() + self.ref_to_pred_mm.sum()) / self._n_points)

    def masd_mm(self) -> float:
        """Mean of the two directed mean distances; each surface weighs the same, however large it is.

        Source: Metrics Reloaded, Nature Methods 2024.
        """
        if not self._both_exist:
            return self._without_partner(np.inf)
        return float((self.pred_to_ref_mm.mean() + self.ref_to_pred_mm.mean()) / 2)

    def within(self, tolerance_mm: float) -> float:
        """Share of both surfaces that lies within a tolerance of the other (normalised surface Dice), 0 to 1.

        Source: Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", JMIR 2021.
        """
        if not self._both_exist:
            return self._without_partner(0.0)
        # 3 · 0.7 mm is one rounding error longer than 2.1 mm, and still within 2.1 mm
        limit_mm = tolerance_mm * (1 + 1e-6)
        near = sum(int(np.count_nonzero(d <= limit_mm)) for d in (self.pred_to_ref_mm, self.ref_to_pred_mm))
        return near / self._n_points

    @property
    def _n_points(self) -> int:
        return len(self.pred_to_ref_mm) + len(self.ref_to_pred_mm)

    @property
    def _both_exist(self) -> bool:
        return len(self.pred_to_ref_mm) > 0 and len(self.ref_to_pred_mm) > 0

    def _without_partner(self, worst: float) -> float:
        return worst if len(self.pred_to_ref_mm) or len(self.ref_to_pred_mm) else np.nan


def label_surface_distances(pred: Any, ref: Any, spacing_mm: Any) -> dict[int, SurfaceDistances]:
    """The distances of every label other than 0 that occurs in either map, in one pass over the volume.

    Args:
        pred: Integer labels ``(*S)``.
        ref: The same on the same grid.
        spacing_mm: Voxel edge lengths, in any numeric form.

    Raises:
        ShapeError: The maps differ in shape or are not integer.
        GeometryError: The spacing does not fit.

    Cost:
        About 0.1 s for 14 organs in 256 x 256 x 128 voxels on one CPU core.
    """
    pred, ref = as_label_maps(pred, ref)
    spacing = as_spacing_mm(spacing_mm, pred.ndim)
    pred, ref, names = _number_from_zero(*crop_to_foreground(pred, ref))
    return {names[label]: d for label, d in _distances_by_label(pred, ref, spacing).items()}


def _distances_by_label(
    pred: LabelMap, ref: LabelMap, spacing: tuple[float, ...]
) -> dict[int, SurfaceDistances]:
    pred_edge, ref_edge = _boundaries(pred, ref, spacing)
    pred_count, ref_count = pred_edge.count(), ref_edge.count()
    common = pred_count.keys() & ref_count.keys()
    if pred_count.keys() != ref_count.keys():
        pred_edge, ref_edge = pred_edge.only(common), ref_edge.only(common)
    forth = pred_edge.by_label(nearest_mm(pred_edge, ref_edge, spacing))
    back = ref_edge.by_label(nearest_mm(ref_edge, pred_edge, spacing))
    return {
        label: SurfaceDistances(
            forth.get(label, np.full(pred_count.get(label, 0), np.inf)),
            back.get(label, np.full(ref_count.get(label, 0), np.inf)),
        )
        for label in sorted(pred_count.keys() | ref_count.keys())
    }


def _boundaries(pred: LabelMap, ref: LabelMap, spacing_mm: tuple[float, ...]) -> tuple[Boundary, Boundary]:
    margin = margin_for(pred.shape, spacing_mm)
    return find_boundary(pred, margin), find_boundary(ref, margin)


def _number_from_zero(pred: LabelMap, ref: LabelMap) -> tuple[LabelMap, LabelMap, Sequence[int]]:
    """Both maps as small unsigned numbers, 0 still background, and the label that each number stands for."""
    if pred.dtype.itemsize == ref.dtype.itemsize == 1 and "i" not in pred.dtype.kind + ref.dtype.kind:
        return pred.view(np.uint8), ref.view(np.uint8), range(256)
    if pred.size == 0:
        return pred.astype(np.uint8), ref.astype(np.uint8), range(1)
    low, high = min(int(pred.min()), int(ref.min())), max(int(pred.max()), int(ref.max()))
    if low >= 0 and high < 1 << 16:
        # the search runs at the speed of memory: one byte a voxel instead of eight
        kind = np.min_scalar_type(high)
        return pred.astype(kind), ref.astype(kind), range(high + 1)
    found = [np.unique(m, return_inverse=True) for m in (pred, ref)]
    labels = [0, *sorted({int(v) for values, _ in found for v in values} - {0})]
    number = {label: i for i, label in enumerate(labels)}
    kind = np.min_scalar_type(len(labels))
    small = [
        np.array([number[int(v)] for v in values], kind)[places].reshape(pred.shape)
        for values, places in found
    ]
    return small[0], small[1], labels


def _check_percentile(percentile: float, directions: str) -> None:
    if not 0 <= percentile <= 100:
        raise ConfigError(f"expected a percentile from 0 to 100, got {percentile}")
    if directions not in get_args(Directions):
        raise ConfigError(f"expected directions 'directed_max' or 'pooled', got {directions!r}")


def _percentile(distances_mm: FloatArray, percentile: float) -> float:
    """As ``np.percentile`` interpolates, without its sorting out what is not asked."""
    if percentile == 100:
        return float(distances_mm.max())
    below, above, weight = _ranks(len(distances_mm), percentile)
    ordered = np.partition(distances_mm, [below, above])
    return float(ordered[below] + (ordered[above] - ordered[below]) * weight)


def _ranks(n: int, percentile: float) -> tuple[int, int, float]:
    """The two ranks among ``n`` sorted values between which a percentile lies, and how far from the first."""
    place = percentile / 100 * (n - 1)
    below = int(place)
    return below, min(below + 1, n - 1), place - below


def surface_distances(pred_mask: Any, ref_mask: Any, spacing_mm: Any) -> SurfaceDistances:
    """The distances between two masks; every voxel other than 0 is inside.

    See ``label_surface_distances``.
    """
    pred, ref, spacing = _as_masks(pred_mask, ref_mask, spacing_mm)
    nothing = SurfaceDistances(np.empty(0), np.empty(0))
    return _distances_by_label(pred, ref, spacing).get(1, nothing)


def _as_masks(pred: Any, ref: Any, spacing_mm: Any) -> tuple[LabelMap, LabelMap, tuple[float, ...]]:
    pred, ref = crop_to_foreground(*as_label_maps(pred, ref))
    # comparing bool with a number would make it wider first
    inside = ((m if m.dtype == bool else m != 0).view(np.uint8) for m in (pred, ref))
    return *inside, as_spacing_mm(spacing_mm, pred.ndim)


def hausdorff_mm(
    pred_mask: Any,
    ref_mask: Any,
    spacing_mm: Any,
    percentile: float = 100.0,
    directions: Directions = "directed_max",
) -> float:
    """Hausdorff distance of two masks in mm, or a percentile of it; see ``SurfaceDistances.hausdorff_mm``.

    Returns:
        nan if both masks are empty, infinity if only one is.

    Example:
        >>> pred, ref = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
        >>> pred[2, 2, 2], ref[5, 6, 2] = True, True
        >>> hausdorff_mm(pred, ref, spacing_mm=(1, 1, 2.5))
        5.0
    """
    _check_percentile(percentile, directions)
    if percentile == 100 or directions == "pooled":
        return surface_distances(pred_mask, ref_mask, spacing_mm).hausdorff_mm(percentile, directions)
    return _without_the_far(pred_mask, ref_mask, spacing_mm, percentile).hausdorff_mm(percentile)


def _without_the_far(pred_mask: Any, ref_mask: Any, spacing_mm: Any, percentile: float) -> SurfaceDistances:
    """Distances that may be infinite beyond the ranks that a percentile needs."""
    pred, ref, spacing = _as_masks(pred_mask, ref_mask, spacing_mm)
    edges = _boundaries(pred, ref, spacing)
    both = all(len(edge.points) for edge in edges)
    lists = (
        nearest_mm(a, b, spacing, len(a.points) - 1 - _ranks(len(a.points), percentile)[1])
        if both
        else np.full(len(a.points), np.inf)
        for a, b in (edges, edges[::-1])
    )
    return SurfaceDistances(*lists)
