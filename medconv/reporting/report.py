"""The report of a table: one HTML file that needs no network, no instructions and no mouse."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape
from math import isnan
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.metrics import SCORES, CaseRow, CaseTable, Summary, score_of, table_intervals
from medconv.metrics.summary import case_means, in_the_mean
from medconv.reporting.html_pieces import counted, extent, facts_table, figure, html_table, plot, shown_value
from medconv.reporting.report_overview import HEADLINE, classes, overview, problems_box
from medconv.reporting.report_page import page_html, versions
from medconv.reporting.svg import Point, svg_scatter, svg_spread
from medconv.reporting.tables import describe_empties, describe_ignored, describe_lack_of_surface

WORST_SHOWN = 8
"""Cases of which a report shows pictures, the worst ones."""

_SHOWN_ROWS = 3000


def write_report(
    table: CaseTable,
    path: str | os.PathLike[str],
    pictures: Mapping[str, bytes] | None = None,
    problems: Mapping[str, str] | None = None,
    title: str = "Segmentation report",
    about: Sequence[str] = (),
    warning: str = "",
    without_reference: Sequence[str] = (),
) -> Path:
    """Write the report of a table; the file appears whole or not at all.

    Args:
        table: What was measured.
        path: The HTML file.
        pictures: PNG by case, shown from the worst case on.
        problems: Cases that could not be measured, and why.
        title: Heading.
        about: Where the table comes from, such as a date and the names of folders; shown below the heading.
        warning: What makes the whole table doubtful, or nothing.
        without_reference: Predictions that there is nothing to measure by.

    Returns:
        The path.

    Cost:
        About a second for 200 cases, pictures not counted.
    """
    text = report_html(table, pictures or {}, problems or {}, title, about, warning, without_reference)
    write_text(Path(path), text)
    return Path(path)


def worst_first(table: CaseTable) -> list[str]:
    """The cases by their mean Dice over structures, lowest first; cases without any structure last."""
    counted = in_the_mean(table.label_names)
    means = case_means([row for row in table.rows if row.label in counted], "dice", table.empties)
    return sorted(means, key=lambda case: (isnan(means[case]), means[case], case))


def report_html(
    table: CaseTable,
    pictures: Mapping[str, bytes],
    problems: Mapping[str, str],
    title: str,
    about: Sequence[str] = (),
    warning: str = "",
    without_reference: Sequence[str] = (),
) -> str:
    """The report as text; see ``write_report``."""
    summary, intervals = table.summary(), table_intervals(table, HEADLINE)
    sections = {
        "Overview": overview(summary, intervals)
        + problems_box(problems, summary.n_cases, warning, without_reference)
        + classes(summary, intervals),
        "Spread over cases": _spreads(table),
        "Worst cases": _worst(table, pictures),
        "Size and spacing": _size_and_spacing(table),
        "Missed and invented": _missed_and_invented(table),
        "All cases": _all_cases(table),
        "Conventions": _conventions(summary),
    }
    told = [extent(summary.n_cases, len(problems), "case"), ", ".join(table.label_names.values()), *about]
    return page_html(title, told, sections)


def _spreads(table: CaseTable) -> str:
    parts = [
        "<p>Every dot is a case; the band is the middle half, the line the median. Red: missed or invented.</p>"
    ]
    for name in HEADLINE:
        groups = {
            structure: [
                Point(
                    row.case_id,
                    score_of(row, name, table.empties),
                    has_failed=row.ref_empty != row.pred_empty,
                )
                for row in table.rows
                if row.label == label
            ]
            for label, structure in table.label_names.items()
        }
        ends = (0.0, 1.0) if SCORES[name].best == 1 else (0.0, None)
        if any(not isnan(point.x) for points in groups.values() for point in points):
            parts.append(
                f"<h3>{SCORES[name].title}</h3>{plot(svg_spread(groups, SCORES[name].title, *ends))}"
            )
    return "".join(parts)


def _worst(table: CaseTable, pictures: Mapping[str, bytes]) -> str:
    parts = ["<p>By mean Dice over structures, lowest first. Solid: reference; dashed: prediction.</p>"]
    by_case: dict[str, list[CaseRow]] = {}
    for row in table.rows:
        by_case.setdefault(row.case_id, []).append(row)
    for case in (case for case in worst_first(table) if case in pictures):
        told = "; ".join(_told(row, table) for row in by_case[case] if not (row.ref_empty and row.pred_empty))
        parts.append(figure(case, pictures[case], told, "Outlines of reference and prediction in case"))
    if len(parts) == 1:
        rows = [
            [case, *(shown_value(r.dice, "dice") for r in by_case[case])] for case in worst_first(table)[:10]
        ]
        parts.append(html_table(["case", *table.label_names.values()], rows, "Dice of the ten worst cases"))
    return "".join(parts)


def _told(row: CaseRow, table: CaseTable) -> str:
    if row.ref_empty != row.pred_empty:
        return f"{row.name} {'missed' if row.pred_empty else 'invented'}"
    hd95 = shown_value(score_of(row, "hd95_mm", table.empties), "hd95_mm")
    return f"{row.name} Dice {shown_value(row.dice, 'dice')}" + (f", HD95 {hd95} mm" if hd95 != "–" else "")


def _size_and_spacing(table: CaseTable) -> str:
    parts = ["<p>Small structures and thick slices cost score by themselves: a single voxel weighs more.</p>"]
    for label, name in table.label_names.items():
        rows = [row for row in table.rows if row.label == label and not row.ref_empty]
        points = [Point(r.case_id, r.ref_volume_ml, r.dice, r.pred_empty) for r in rows]
        if any(not isnan(point.x) for point in points):
            parts.append(
                f"<h3>{escape(name)}</h3>{plot(svg_scatter(points, 'volume in the reference / ml', 'Dice'))}"
            )
    spacings = {row.case_id: row.spacing_mm for row in table.rows if row.spacing_mm}
    kinds = sorted({tuple(round(s, 4) for s in spacing) for spacing in spacings.values()})
    if len(kinds) == 1:
        parts.append(f"<p>Spacing of all cases: {' × '.join(f'{s:g}' for s in kinds[0])} mm.</p>")
    elif kinds:
        means = case_means(table.rows, "dice", table.empties)
        points = [Point(case, max(spacing), means[case]) for case, spacing in spacings.items()]
        parts.append(f"<h3>Spacing</h3>{plot(svg_scatter(points, 'largest voxel edge / mm', 'mean Dice'))}")
    return "".join(parts)


def _missed_and_invented(table: CaseTable) -> str:
    rows = [
        [row.case_id, row.name, "missed" if row.pred_empty else "invented", f"{max(volumes):.3g}"]
        for row in table.rows
        if row.ref_empty != row.pred_empty and (volumes := (row.ref_volume_ml, row.pred_volume_ml))
    ]
    if not rows:
        return "<p>None: every structure of a reference was found, and no other was predicted.</p>"
    return html_table(
        ["case", "structure", "what", "ml"], rows, "Structures on one side only", text_columns=3
    )


def _all_cases(table: CaseTable) -> str:
    names = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml")
    rows = [
        [row.case_id, row.name, *(shown_value(score_of(row, n, table.empties), n) for n in names)]
        for row in table.rows[:_SHOWN_ROWS]
    ]
    more = f"<p>The first {_SHOWN_ROWS} rows; table.csv has all.</p>" if len(table) > _SHOWN_ROWS else ""
    head = ["case", "structure", *(SCORES[name].title for name in names)]
    inside = html_table(head, rows, "Every case and structure", text_columns=2)
    return f"<details><summary>Show {counted(len(rows), 'row')}</summary>{inside}{more}</details>"


def _conventions(summary: Summary) -> str:
    told = ", ".join(f"{name} {mm:g} mm" for name, mm in summary.nsd_tolerances_mm.items()) or "none"
    lines = {
        "Surfaces": summary.convention,
        "Units": "distances in mm from each case's own spacing, measured on the reference's grid",
        "Tolerances of NSD": told,
        "A structure on one side only": describe_empties(summary.empties),
        "A structure in neither map": "left out of every mean, and counted",
        "Versions": versions(),
    }
    if ignored := describe_ignored(summary):
        lines["Ignored voxels"] = " ".join(ignored)
    if lacking := describe_lack_of_surface(summary):
        lines["Structures without a surface"] = " ".join(lacking)
    return facts_table(lines, "How the numbers were made")
