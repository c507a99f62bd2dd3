"""The report of a table: one HTML file that needs no network, no instructions and no mouse."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from math import isnan
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.lengths import ShownUnit, length_in, volume_unit
from medconv.metrics import SCORES, CaseRow, CaseTable, Summary, score_of, table_intervals
from medconv.metrics.length_unit import factor_in, title_in
from medconv.metrics.summary import case_means, in_the_mean
from medconv.reporting.html_pieces import counted, extent, facts_table, figure, html_table, plot, shown_value
from medconv.reporting.report_notes import NO_NOTES, ReportNotes
from medconv.reporting.report_overview import HEADLINE, classes, known_headline, overview, problems_box
from medconv.reporting.report_page import page_html, versions
from medconv.reporting.svg import Point, svg_scatter, svg_spread
from medconv.reporting.tables import describe_empties, describe_ignored, describe_lack_of_surface

WORST_SHOWN = 8
"""Cases of which a report shows pictures, the worst ones."""

_SHOWN_ROWS = 3000


def write_report(
    table: CaseTable,
    path: str | os.PathLike[str],
    notes: ReportNotes = NO_NOTES,
) -> Path:
    """Write the report of a table; the file appears whole or not at all.

    Args:
        table: What was measured.
        path: The HTML file.
        notes: What it tells beside the table.

    Returns:
        The path.

    Cost:
        About a second for 200 cases, pictures not counted.
    """
    write_text(Path(path), report_html(table, notes))
    return Path(path)


def worst_first(table: CaseTable) -> list[str]:
    """The cases by their mean Dice over structures, lowest first; cases without any structure last."""
    counted = in_the_mean(table.label_names)
    means = case_means([row for row in table.rows if row.label in counted], "dice", table.empties)
    return sorted(means, key=lambda case: (isnan(means[case]), means[case], case))


def report_html(table: CaseTable, notes: ReportNotes = NO_NOTES) -> str:
    """The report as text; see ``write_report``."""
    summary, intervals = table.summary(), table_intervals(table, HEADLINE)
    sections = {
        "Overview": overview(summary, intervals)
        + problems_box(notes, summary.n_cases)
        + classes(summary, intervals),
        "Spread over cases": _spreads(table, summary.unit),
        "Worst cases": _worst(table, notes.pictures, summary.unit),
        "Size and spacing": _size_and_spacing(table, summary.unit),
        "Missed and invented": _missed_and_invented(table, summary.unit),
        "All cases": _all_cases(table, summary.unit),
        "Conventions": _conventions(summary),
    }
    told = [
        extent(summary.n_cases, len(notes.problems), "case"),
        ", ".join(table.label_names.values()),
        *notes.about,
    ]
    return page_html(notes.title or "Segmentation report", told, sections)


def _spreads(table: CaseTable, unit: ShownUnit) -> str:
    parts = [
        "<p>Every dot is a case; the band is the middle half, the line the median. Red: missed or invented.</p>"
    ]
    for name in HEADLINE:
        groups = {
            structure: [
                Point(
                    row.case_id,
                    score_of(row, name, table.empties) * factor_in(name, unit),
                    has_failed=row.ref_empty != row.pred_empty,
                )
                for row in table.rows
                if row.label == label
            ]
            for label, structure in table.label_names.items()
        }
        ends = (0.0, 1.0) if SCORES[name].best == 1 else (0.0, None)
        if any(not isnan(point.x) for points in groups.values() for point in points):
            title = title_in(name, unit)
            parts.append(f"<h3>{title}</h3>{plot(svg_spread(groups, title, *ends))}")
    return "".join(parts)


def _worst(table: CaseTable, pictures: Mapping[str, bytes], unit: ShownUnit) -> str:
    parts = ["<p>By mean Dice over structures, lowest first. Solid: reference; dashed: prediction.</p>"]
    by_case: dict[str, list[CaseRow]] = {}
    for row in table.rows:
        by_case.setdefault(row.case_id, []).append(row)
    for case in (case for case in worst_first(table) if case in pictures):
        told = "; ".join(
            _told(row, table, unit) for row in by_case[case] if not (row.ref_empty and row.pred_empty)
        )
        parts.append(figure(case, pictures[case], told, "Outlines of reference and prediction in case"))
    if len(parts) == 1:
        rows = [
            [case, *(shown_value(r.dice, "dice") for r in by_case[case])] for case in worst_first(table)[:10]
        ]
        parts.append(html_table(["case", *table.label_names.values()], rows, "Dice of the ten worst cases"))
    return "".join(parts)


def _told(row: CaseRow, table: CaseTable, unit: ShownUnit) -> str:
    if row.ref_empty != row.pred_empty:
        return f"{row.name} {'missed' if row.pred_empty else 'invented'}"
    hd95 = shown_value(score_of(row, "hd95_mm", table.empties), "hd95_mm", unit)
    return f"{row.name} Dice {shown_value(row.dice, 'dice')}" + (
        f", HD95 {hd95} {unit}" if hd95 != "–" else ""
    )


def _size_and_spacing(table: CaseTable, unit: ShownUnit) -> str:
    parts = ["<p>Small structures and thick slices cost score by themselves: a single voxel weighs more.</p>"]
    for label, name in table.label_names.items():
        rows = [row for row in table.rows if row.label == label and not row.ref_empty]
        points = [
            Point(r.case_id, r.ref_volume_ml * factor_in("ref_volume_ml", unit), r.dice, r.pred_empty)
            for r in rows
        ]
        if any(not isnan(point.x) for point in points):
            across = f"volume in the reference / {volume_unit(unit)}"
            parts.append(f"<h3>{escape(name)}</h3>{plot(svg_scatter(points, across, 'Dice'))}")
    spacings = {row.case_id: row.spacing_mm for row in table.rows if row.spacing_mm}
    factor = factor_in("hd95_mm", unit)
    kinds = sorted({tuple(round(s * factor, 4) for s in spacing) for spacing in spacings.values()})
    if len(kinds) == 1:
        parts.append(f"<p>Spacing of all cases: {' × '.join(f'{s:g}' for s in kinds[0])} {unit}.</p>")
    elif kinds:
        means = case_means(table.rows, "dice", table.empties)
        points = [Point(case, max(spacing) * factor, means[case]) for case, spacing in spacings.items()]
        across = f"largest voxel edge / {unit}"
        parts.append(f"<h3>Spacing</h3>{plot(svg_scatter(points, across, 'mean Dice'))}")
    return "".join(parts)


def _missed_and_invented(table: CaseTable, unit: ShownUnit) -> str:
    factor = factor_in("ref_volume_ml", unit)
    rows = [
        [row.case_id, row.name, "missed" if row.pred_empty else "invented", _size(row, factor)]
        for row in table.rows
        if row.ref_empty != row.pred_empty
    ]
    if not rows:
        return "<p>None: every structure of a reference was found, and no other was predicted.</p>"
    head = ["case", "structure", "what", volume_unit(unit)]
    return html_table(head, rows, "Structures on one side only", text_columns=3)


def _size(row: CaseRow, factor: float) -> str:
    """Volume of the side that is not empty; a dash where there is none, as in a single image."""
    volume = max(row.ref_volume_ml, row.pred_volume_ml) * factor
    return "–" if isnan(volume) else f"{volume:.3g}"


def _all_cases(table: CaseTable, unit: ShownUnit) -> str:
    every = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml")
    names = [n for n in every if n == "dice" or any(not isnan(score_of(row, n)) for row in table.rows)]
    rows = [
        [row.case_id, row.name, *(shown_value(score_of(row, n, table.empties), n, unit) for n in names)]
        for row in table.rows[:_SHOWN_ROWS]
    ]
    more = f"<p>The first {_SHOWN_ROWS} rows; table.csv has all.</p>" if len(table) > _SHOWN_ROWS else ""
    head = ["case", "structure", *(title_in(name, unit) for name in names)]
    inside = html_table(head, rows, "Every case and structure", text_columns=2)
    return f"<details><summary>Show {counted(len(rows), 'row')}</summary>{inside}{more}</details>"


def _conventions(summary: Summary) -> str:
    told = ", ".join(
        f"{name} {length_in(mm, summary.unit)}" for name, mm in summary.nsd_tolerances_mm.items()
    )
    has_nsd = any(not isnan(entry.scores["nsd"].mean) for entry in summary.labels)
    units = f"distances in {summary.unit} from each case's own spacing, measured on the reference's grid"
    lines = {
        "Surfaces": summary.convention,
        "Units": units if len(known_headline(summary)) > 1 else "no distances were measured",
        "Tolerances of NSD": told or ("of each case, see table.csv" if has_nsd else "none"),
        "A structure on one side only": describe_empties(summary.empties),
        "A structure in neither map": "left out of every mean, and counted",
        "Versions": versions(),
    }
    if ignored := describe_ignored(summary):
        lines["Ignored voxels"] = " ".join(ignored)
    if lacking := describe_lack_of_surface(summary):
        lines["Structures without a surface"] = " ".join(lacking)
    return facts_table(lines, "How the numbers were made")
