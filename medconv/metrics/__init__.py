"""Metrics: how good a segmentation is, in numbers that say their unit and hide no failure.

Pure functions over integer label maps (``dice``, ``hausdorff_mm``, ``measure_case``); a table of rows (case ×
structure) that is gathered from anywhere and summarised under a stated policy for empty structures; and how
sure its numbers are. All of it is NumPy, except ``SegmentationTable``, the metric for training loops, which
brings PyTorch and torchmetrics with it when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from medconv.metrics.bootstrap import Interval, bootstrap_interval
from medconv.metrics.calibration import ReliabilityCurve, expected_calibration_error, reliability_curve
from medconv.metrics.case import measure_case
from medconv.metrics.case_table import CaseTable
from medconv.metrics.comparison import TableDifference, compare_tables
from medconv.metrics.detection import InstanceScores, pool_scores
from medconv.metrics.instance import InstanceOverlap, instance_overlap, instance_scores, panoptic_quality
from medconv.metrics.nnunet_summary import nnunet_summary
from medconv.metrics.overlap import (
    contingency,
    dice,
    dice_from,
    iou,
    iou_from,
    precision_from,
    sensitivity_from,
)
from medconv.metrics.paired import (
    PairedComparison,
    compare_paired,
    equivalence_p,
    holm,
    sign_flip_p,
    signed_rank_p,
)
from medconv.metrics.rows import CaseRow
from medconv.metrics.scores import SCORES, Empties, Score, score_of
from medconv.metrics.skeleton import skeletonise
from medconv.metrics.structures import Structures
from medconv.metrics.summary import LabelSummary, Spread, Summary, summarise
from medconv.metrics.surface import (
    CONVENTION,
    SurfaceConvention,
    SurfaceDistances,
    hausdorff_mm,
    label_surface_distances,
    surface_distances,
)
from medconv.metrics.table_intervals import table_intervals
from medconv.metrics.topology import BettiNumbers, betti_error, betti_numbers, cl_dice

if TYPE_CHECKING:
    from medconv.metrics.table import SegmentationTable

_HOMES = {"SegmentationTable": "medconv.metrics.table"}
"""PyTorch and torchmetrics take seconds to import, which predicting and evaluating files need not pay."""

__all__ = [
    "CONVENTION",
    "SCORES",
    "BettiNumbers",
    "CaseRow",
    "CaseTable",
    "Empties",
    "InstanceOverlap",
    "InstanceScores",
    "Interval",
    "LabelSummary",
    "PairedComparison",
    "ReliabilityCurve",
    "Score",
    "SegmentationTable",
    "Spread",
    "Structures",
    "Summary",
    "SurfaceConvention",
    "SurfaceDistances",
    "TableDifference",
    "betti_error",
    "betti_numbers",
    "bootstrap_interval",
    "cl_dice",
    "compare_paired",
    "compare_tables",
    "contingency",
    "dice",
    "dice_from",
    "equivalence_p",
    "expected_calibration_error",
    "hausdorff_mm",
    "holm",
    "instance_overlap",
    "instance_scores",
    "iou",
    "iou_from",
    "label_surface_distances",
    "measure_case",
    "nnunet_summary",
    "panoptic_quality",
    "pool_scores",
    "precision_from",
    "reliability_curve",
    "score_of",
    "sensitivity_from",
    "sign_flip_p",
    "signed_rank_p",
    "skeletonise",
    "summarise",
    "surface_distances",
    "table_intervals",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'medconv.metrics' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
