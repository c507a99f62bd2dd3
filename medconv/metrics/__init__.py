"""Metrics: how good a segmentation is, in numbers that say their unit and hide no failure.

Pure functions over integer label maps (``dice``, ``hausdorff_mm``), and a table of rows (case × structure)
that is gathered from anywhere and summarised under a stated policy for empty structures.
"""

from __future__ import annotations

from medconv.metrics.bootstrap import Interval, bootstrap_interval
from medconv.metrics.case import measure_case
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
from medconv.metrics.summary import Empties, LabelSummary, Summary, summarise
from medconv.metrics.surface import (
    CONVENTION,
    SurfaceDistances,
    hausdorff_mm,
    label_surface_distances,
    surface_distances,
)
from medconv.metrics.table import SegmentationTable

__all__ = [
    "CONVENTION",
    "CaseRow",
    "Empties",
    "Interval",
    "LabelSummary",
    "PairedComparison",
    "SegmentationTable",
    "Summary",
    "SurfaceDistances",
    "bootstrap_interval",
    "compare_paired",
    "contingency",
    "dice",
    "dice_from",
    "equivalence_p",
    "hausdorff_mm",
    "holm",
    "iou",
    "iou_from",
    "label_surface_distances",
    "measure_case",
    "precision_from",
    "sensitivity_from",
    "sign_flip_p",
    "signed_rank_p",
    "summarise",
    "surface_distances",
]
