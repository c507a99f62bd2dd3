"""Metrics: how good a segmentation is, in numbers that say their unit and hide no failure.

Pure functions over integer label maps (``dice``, ``hausdorff_mm``), and a table of rows (case × structure)
that is gathered from anywhere and summarised under a stated policy for empty structures.
"""

from __future__ import annotations

from medconv.metrics.calibration import ReliabilityCurve, expected_calibration_error, reliability_curve
from medconv.metrics.case import measure_case
from medconv.metrics.detection import InstanceScores, pool_scores
from medconv.metrics.instance import InstanceOverlap, instance_overlap, instance_scores, panoptic_quality
from medconv.metrics.overlap import (
    contingency,
    dice,
    dice_from,
    iou,
    iou_from,
    precision_from,
    sensitivity_from,
)
from medconv.metrics.rows import CaseRow
from medconv.metrics.skeleton import skeletonise
from medconv.metrics.summary import Empties, LabelSummary, Summary, summarise
from medconv.metrics.surface import (
    CONVENTION,
    SurfaceConvention,
    SurfaceDistances,
    hausdorff_mm,
    label_surface_distances,
    surface_distances,
)
from medconv.metrics.table import SegmentationTable
from medconv.metrics.topology import BettiNumbers, betti_error, betti_numbers, cl_dice

__all__ = [
    "CONVENTION",
    "BettiNumbers",
    "CaseRow",
    "Empties",
    "InstanceOverlap",
    "InstanceScores",
    "LabelSummary",
    "ReliabilityCurve",
    "SegmentationTable",
    "Summary",
    "SurfaceConvention",
    "SurfaceDistances",
    "betti_error",
    "betti_numbers",
    "cl_dice",
    "contingency",
    "dice",
    "dice_from",
    "expected_calibration_error",
    "hausdorff_mm",
    "instance_overlap",
    "instance_scores",
    "iou",
    "iou_from",
    "label_surface_distances",
    "measure_case",
    "panoptic_quality",
    "pool_scores",
    "precision_from",
    "reliability_curve",
    "sensitivity_from",
    "skeletonise",
    "summarise",
    "surface_distances",
]
