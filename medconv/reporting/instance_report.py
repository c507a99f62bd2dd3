"""The report of a table of single objects: what was found, missed, split and merged, worst images first."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import isnan
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.metrics import INSTANCE_SCORES, InstanceRow, InstanceSummary, InstanceTable, Interval
from medconv.metrics.instance_table import Over
from medconv.metrics.scores import THRESHOLDS
from medconv.reporting.html_pieces import (
    card,
    counted,
    extent,
    facts_table,
    figure,
    html_table,
    plot,
    shown_limits,
    shown_value,
)
from medconv.reporting.instance_drawing import ERROR_COLOURS
from medconv.reporting.report_notes import NO_NOTES, ReportNotes
from medconv.reporting.report_overview import problems_box
from medconv.reporting.report_page import page_html, versions
from medconv.reporting.svg import Point, svg_scatter, svg_spread
from medconv.reporting.tables import format_table

HEADLINE = ("ap_50", "ap_75", "ap", "pq")
"""The scores that a report of objects opens with."""

_SHOWN = ("ap", "ap_50", "ap_75", "f1_50", "pq", "sq", "rq", "aji", "foreground_dice")
_SHOWN_ROWS = 3000

Intervals = Mapping[tuple[Over, str], Interval]


def write_instance_report(
    table: InstanceTable,
    path: str | os.PathLike[str],
    notes: ReportNotes = NO_NOTES,
) -> Path:
    """Write the report of a table of objects; the file appears whole or not at all.

    Args:
        table: What was measured.
        path: The HTML file.
        notes: What it tells beside the table; pictures as from ``draw_instance_pairs``.

    Returns:
        The path.
    """
    summary, intervals = table.summary(), table.intervals(_SHOWN)
    sections = {
        "Overview": _overview(summary, intervals)
        + problems_box(notes, summary.n_images)
        + _scores(intervals),
        "Thresholds": _thresholds(summary),
        "Spread over images": _spreads(table),
        "Worst images": _worst(table, notes.pictures),
        "Counts": _counts(table),
        "All images": _all_images(table),
        "Conventions": _conventions(table, summary),
    }
    told = [
        extent(summary.n_images, len(notes.problems), "image"),
        counted(summary.ref_objects, "object"),
        *notes.about,
    ]
    write_text(Path(path), page_html(notes.title or "Object report", told, sections))
    return Path(path)


def format_instance_summary(table: InstanceTable) -> str:
    """The summary of objects as text: every score as the mean over images and pooled over objects, with intervals.

    Example:
        >>> import numpy as np
        >>> from medconv.metrics import measure_instances
        >>> ref = np.array([[1, 1, 0, 2]])
        >>> print(format_instance_summary(InstanceTable([measure_instances("a", ref, ref)])).splitlines()[2])
        mean AP                   1.0000                 1.0000
    """
    summary, intervals = table.summary(), table.intervals(_SHOWN)
    rows = [
        [
            INSTANCE_SCORES[name].title,
            _told(intervals["mean", name], name),
            _told(intervals["pooled", name], name),
        ]
        for name in _SHOWN
    ]
    head = ["score", "mean over images [95 %]", "pooled over objects [95 %]"]
    return "\n".join([format_table(rows, head), "", *_sentences(summary)])


def _told(found: Interval, name: str) -> str:
    digits = INSTANCE_SCORES[name].digits
    if isnan(found.mean):
        return "-"
    limits = "" if isnan(found.low) else f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return f"{found.mean:.{digits}f}{limits}"


def _sentences(summary: InstanceSummary) -> list[str]:
    lines = [
        f"Objects: {summary.ref_objects} in references, {summary.pred_objects} predicted; at IoU 0.5 {summary.found} "
        f"found, {summary.missed} missed, {summary.invented} invented; {_whole(summary.pooled['splits'])} splits, "
        f"{_whole(summary.pooled['merges'])} merges.",
        "Mean over images: every image weighs the same; pooled: every object does. mean AP: over IoU 0.5, 0.55 … 0.95.",
    ]
    if summary.n_both_empty:
        lines.append(f"{counted(summary.n_both_empty, 'image')} without objects on either side, in no mean.")
    if summary.ignored_voxels:
        lines.append(f"{summary.ignored_voxels} ignored voxels are part of no figure.")
    return lines


def _whole(value: float) -> str:
    return "0" if isnan(value) else f"{value:.0f}"


def _overview(summary: InstanceSummary, intervals: Intervals) -> str:
    cards = []
    for name in HEADLINE:
        found, pooled = intervals.get(("mean", name)), intervals.get(("pooled", name))
        if found and pooled and not isnan(found.mean):
            limits = f"95 %: {shown_limits(found, name)}<br>" if shown_limits(found, name) else ""
            remark = f"{limits}pooled {shown_value(pooled.mean, name)}"
            cards.append(card(INSTANCE_SCORES[name].title, shown_value(found.mean, name), remark))
    cards += [
        card("objects missed", str(summary.missed), f"of {summary.ref_objects}"),
        card("objects invented", str(summary.invented), f"of {summary.pred_objects} predicted"),
        card("splits", _whole(summary.pooled["splits"]), "predictions too many"),
        card("merges", _whole(summary.pooled["merges"]), "objects swallowed"),
    ]
    return (
        f'<dl class="cards">{"".join(cards)}</dl><p class="soft">Large figures: mean over images; pooled: all objects '
        "together. Brackets: 95 % intervals, percentile bootstrap over images. AP = TP / (TP + FP + FN).</p>"
    )


def _scores(intervals: Intervals) -> str:
    rows = []
    for name in _SHOWN:
        sides = [intervals.get((over, name)) for over in ("mean", "pooled")]  # type: ignore[arg-type]
        cells = [f"{shown_value(i.mean, name)} {shown_limits(i, name)}".strip() for i in sides if i]
        if cells:
            rows.append([INSTANCE_SCORES[name].title, *cells])
    return html_table(
        ["score", "mean over images", "pooled over objects"], rows, "Each score, with 95 % interval"
    )


def _thresholds(summary: InstanceSummary) -> str:
    rows = []
    for t in THRESHOLDS:
        ap, f1 = f"ap_{100 * t:.0f}", f"f1_{100 * t:.0f}"
        figures = [side[name] for name in (ap, f1) for side in (summary.mean, summary.pooled)]
        rows.append([f"{t:g}", *(shown_value(v, ap) for v in figures)])
    head = ["IoU", "AP, mean", "AP, pooled", "F1, mean", "F1, pooled"]
    return html_table(head, rows, "How exact an object must be to count as found")


def _spreads(table: InstanceTable) -> str:
    groups = {
        INSTANCE_SCORES[name].title: [
            Point(row.case_id, row.scores[name], has_failed=not row.tp[0]) for row in table.rows
        ]
        for name in ("ap_50", "ap_75", "pq", "aji", "foreground_dice")
    }
    told = (
        "Every dot is an image; the band is the middle half, the line the median. Red: no object was found."
    )
    return f"<p>{told}</p>{plot(svg_spread(groups, 'score', 0.0, 1.0))}"


def _worst(table: InstanceTable, pictures: Mapping[str, bytes]) -> str:
    swatch = {
        "found": "solid: found in the reference",
        "missed": "solid: missed",
        "prediction": "dashed: prediction with a partner",
        "invented": "prediction without a partner",
    }
    legend = "".join(
        f'<li><svg viewBox="0 0 12 12" style="width:.8em;height:.8em;display:inline-block" role="img" '
        f'aria-label="colour"><rect width="12" height="12" fill="{ERROR_COLOURS[kind]}"/></svg> {told}</li>'
        for kind, told in swatch.items()
    )
    rows = {row.case_id: row for row in table.rows}
    shown = [case for case in table.worst_first() if case in pictures]
    figures = "".join(
        figure(case, pictures[case], _line(rows[case]), "Outlines of objects in image") for case in shown
    )
    if not shown:
        cells = [[case, *_cells(rows[case])] for case in table.worst_first()[:10]]
        figures = html_table(["image", *_HEAD], cells, "The ten worst images")
    return f"<p>By AP@0.5, lowest first, at an IoU of 0.5.</p><ul>{legend}</ul>{figures}"


_HEAD = ("AP@0.5", "AP@0.75", "PQ", "objects", "predicted", "found", "splits", "merges")


def _cells(row: InstanceRow) -> list[str]:
    scores = [shown_value(row.scores[name], name) for name in ("ap_50", "ap_75", "pq")]
    return [*scores, *map(str, (row.ref_objects, row.pred_objects, row.tp[0], row.splits, row.merges))]


def _line(row: InstanceRow) -> str:
    return (
        f"AP@0.5 {shown_value(row.scores['ap_50'], 'ap_50')}, PQ {shown_value(row.scores['pq'], 'pq')}: "
        f"{row.tp[0]} of {counted(row.ref_objects, 'object')} found, {row.pred_objects - row.tp[0]} invented, "
        f"{row.splits} split, {row.merges} merged"
    )


def _counts(table: InstanceTable) -> str:
    points = [Point(r.case_id, r.ref_objects, r.pred_objects, not r.tp[0]) for r in table.rows]
    scores = [Point(r.case_id, r.ref_objects, r.scores["ap_50"], not r.tp[0]) for r in table.rows]
    return (
        "<p>Whether objects are counted right, and whether crowded images go worse.</p>"
        f"{plot(svg_scatter(points, 'objects in the reference', 'objects predicted'))}"
        f"{plot(svg_scatter(scores, 'objects in the reference', 'AP@0.5'))}"
    )


def _all_images(table: InstanceTable) -> str:
    rows = [[row.case_id, *_cells(row)] for row in table.rows[:_SHOWN_ROWS]]
    more = f"<p>The first {_SHOWN_ROWS} rows; table.csv has all.</p>" if len(table) > _SHOWN_ROWS else ""
    inside = html_table(["image", *_HEAD], rows, "Every image")
    return f"<details><summary>Show {counted(len(rows), 'row')}</summary>{inside}{more}</details>"


def _conventions(table: InstanceTable, summary: InstanceSummary) -> str:
    lines = {
        "Matching": table.convention,
        "AJI": "as published: each reference object takes the prediction that it overlaps best",
        "Splits": "of predictions that lie by more than half in one reference object, all but one",
        "Merges": "of reference objects that lie by more than half in one prediction, all but one",
        "Images without objects": f"on either side: {summary.n_both_empty}, in no mean; only invented: "
        f"{summary.n_empty_reference}, all missed: {summary.n_empty_prediction}, both score 0",
        "Versions": versions(),
    }
    if summary.ignored_voxels:
        lines["Ignored voxels"] = (
            f"{summary.ignored_voxels}, taken out of both maps before anything was counted"
        )
    return facts_table(lines, "How the numbers were made")
