"""Reporting: pictures and tables a person looks at; it receives arrays and numbers, never a network.

Pictures are drawn on their own canvas: no window, no global figure, safe in threads and on a machine without
a screen. Files appear whole or not at all.
"""

from __future__ import annotations

from medconv.reporting.case_pictures import draw_pairs
from medconv.reporting.curves import draw_curves
from medconv.reporting.figure import Picture
from medconv.reporting.instance_drawing import draw_instance_errors, draw_instances
from medconv.reporting.instance_report import format_instance_summary, write_instance_report
from medconv.reporting.level_curves import draw_levels
from medconv.reporting.level_panel import LevelPanel, LevelPoint
from medconv.reporting.level_report import ReportTable, write_level_report
from medconv.reporting.object_overlay import draw_object_overlay
from medconv.reporting.overlays import draw_overlay
from medconv.reporting.report import worst_first, write_report
from medconv.reporting.report_notes import ReportNotes
from medconv.reporting.samples import SampleRow, draw_samples
from medconv.reporting.tables import format_summary, format_table
from medconv.reporting.viewer import Viewer, view

__all__ = [
    "LevelPanel",
    "LevelPoint",
    "Picture",
    "ReportNotes",
    "ReportTable",
    "SampleRow",
    "Viewer",
    "draw_curves",
    "draw_instance_errors",
    "draw_instances",
    "draw_levels",
    "draw_object_overlay",
    "draw_overlay",
    "draw_pairs",
    "draw_samples",
    "format_instance_summary",
    "format_summary",
    "format_table",
    "view",
    "worst_first",
    "write_instance_report",
    "write_level_report",
    "write_report",
]
