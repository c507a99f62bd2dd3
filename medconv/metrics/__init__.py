"""Metrics: how good a segmentation is, in numbers that say their unit and hide no failure.

Pure functions over integer label maps (``dice``, ``hausdorff_mm``, ``measure_case``, ``measure_instances``); tables
of rows (case × structure, or image) that are gathered from anywhere and summarised under stated policies; and how
sure their numbers are. All of it is NumPy, except the metrics for training loops, ``SegmentationTable`` and
``InstanceSegmentationTable``, which bring PyTorch and torchmetrics with them when they are first used; membranes
(``measure_membrane``) bring scikit-image.
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
from medconv.metrics.instance_rows import InstanceRow, measure_instances
from medconv.metrics.instance_table import InstanceSummary, InstanceTable
from medconv.metrics.membrane_rows import MembraneRow
from medconv.metrics.membrane_table import MembraneSummary, MembraneTable
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
from medconv.metrics.read_table import read_table
from medconv.metrics.rows import CaseRow
from medconv.metrics.scores import (
    INSTANCE_SCORES,
    MEMBRANE_SCORES,
    SCORES,
    Empties,
    Score,
    known_score,
    score_of,
)
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
    from medconv.metrics.membrane import compare_segments, measure_membrane, segments_of
    from medconv.metrics.table import InstanceSegmentationTable, SegmentationTable

_HOMES = dict.fromkeys(("SegmentationTable", "InstanceSegmentationTable"), "medconv.metrics.table")
_HOMES |= dict.fromkeys(("compare_segments", "measure_membrane", "segments_of"), "medconv.metrics.membrane")
"""PyTorch and torchmetrics take seconds to import, which predicting and evaluating files need not pay."""

__all__ = [
    "CONVENTION",
    "INSTANCE_SCORES",
    "MEMBRANE_SCORES",
    "SCORES",
    "BettiNumbers",
    "CaseRow",
    "CaseTable",
    "Empties",
    "InstanceOverlap",
    "InstanceRow",
    "InstanceScores",
    "InstanceSegmentationTable",
    "InstanceSummary",
    "InstanceTable",
    "Interval",
    "LabelSummary",
    "MembraneRow",
    "MembraneSummary",
    "MembraneTable",
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
    "compare_segments",
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
    "known_score",
    "label_surface_distances",
    "measure_case",
    "measure_instances",
    "measure_membrane",
    "nnunet_summary",
    "panoptic_quality",
    "pool_scores",
    "precision_from",
    "read_table",
    "reliability_curve",
    "score_of",
    "segments_of",
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
