"""The report of a table: one HTML file that needs no network, no instructions and no mouse."""

from __future__ import annotations

import base64
import os
import platform
from collections.abc import Mapping, Sequence
from html import escape
from math import isnan
from pathlib import Path

import numpy
import scipy

from medconv import __version__
from medconv.io.atomic import write_text
from medconv.metrics import SCORES, CaseRow, CaseTable, Interval, Summary, score_of, table_intervals
from medconv.metrics.summary import case_means, in_the_mean
from medconv.reporting.report_style import STYLE
from medconv.reporting.svg import Point, svg_scatter, svg_spread
from medconv.reporting.tables import describe_empties

_HEADLINE = ("dice", "nsd", "hd95_mm")
_SHOWN_ROWS = 3000


def write_report(
    table: CaseTable,
    path: str | os.PathLike[str],
    pictures: Mapping[str, bytes] | None = None,
    problems: Mapping[str, str] | None = None,
    title: str = "Segmentation report",
) -> Path:
    """Write the report of a table; the file appears whole or not at all.

    Args:
        table: What was measured.
        path: The HTML file.
        pictures: PNG by case, shown from the worst case on.
        problems: Cases that could not be measured, and why.
        title: Heading.

    Returns:
        The path.

    Cost:
        About a second for 200 cases, pictures not counted.
    """
    write_text(Path(path), report_html(table, pictures or {}, problems or {}, title))
    return Path(path)


def worst_first(table: CaseTable) -> list[str]:
    """The cases by their mean Dice over structures, lowest first; cases without any structure last."""
    counted = in_the_mean(table.label_names)
    means = case_means([row for row in table.rows if row.label in counted], "dice", table.empties)
    return sorted(means, key=lambda case: (isnan(means[case]), means[case], case))


def report_html(
    table: CaseTable, pictures: Mapping[str, bytes], problems: Mapping[str, str], title: str
) -> str:
    """The report as text; see ``write_report``."""
    summary, intervals = table.summary(), table_intervals(table, _HEADLINE)
    sections = {
        "Overview": _overview(summary, intervals) + _problems(problems) + _classes(summary, intervals),
        "Spread over cases": _spreads(table),
        "Worst cases": _worst(table, pictures),
        "Size and spacing": _size_and_spacing(table),
        "Missed and invented": _missed_and_invented(table),
        "All cases": _all_cases(table),
        "Conventions": _conventions(table, summary),
    }
    ids = {name: name.lower().replace(" ", "-") for name in sections}
    links = "".join(f'<li><a href="#{ids[name]}">{name}</a></li>' for name in sections)
    body = "".join(
        f'<section aria-labelledby="{ids[name]}"><h2 id="{ids[name]}">{name}</h2>{text}</section>'
        for name, text in sections.items()
    )
    structures = ", ".join(table.label_names.values())
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n<body>'
        '<a class="skip" href="#content">To the content</a>'
        f'<header><h1>{escape(title)}</h1><p class="soft">{summary.n_cases} cases · {escape(structures)}</p>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header>\n<main id="content">{body}</main>'
        f'<footer><p class="soft">medconv {__version__}</p></footer></body></html>\n'
    )


def _overview(summary: Summary, intervals: Mapping[tuple[int, str], Interval]) -> str:
    cards = [
        _card(f"mean {SCORES[name].title}", _value(found.mean, name), f"95 %: {_limits(found, name)}")
        for name in _HEADLINE
        if (found := intervals.get((0, name))) and not isnan(found.mean)
    ]
    counted = in_the_mean(entry.label for entry in summary.labels)
    entries = [entry for entry in summary.labels if entry.label in counted]
    missed, invented = sum(e.n_missed for e in entries), sum(e.n_false_positive for e in entries)
    cards.append(_card("structures missed", str(missed), f"of {sum(e.n - e.n_both_empty for e in entries)}"))
    cards.append(_card("structures invented", str(invented), "not in the reference"))
    return (
        f'<dl class="cards">{"".join(cards)}</dl><p class="soft">Means over cases within each structure, then '
        "over structures. Brackets: 95 % intervals, percentile bootstrap over cases. NSD: share of both surfaces "
        "within a tolerance of each other. HD95: distance that 95 % of either surface does not exceed.</p>"
    )


def _card(name: str, value: str, remark: str) -> str:
    return (
        f'<div class="card"><dt>{name}</dt><dd class="big">{value}</dd><dd class="small">{remark}</dd></div>'
    )


def _problems(problems: Mapping[str, str]) -> str:
    if not problems:
        return ""
    items = "".join(
        f"<li><strong>{escape(k)}</strong>: {escape(v)}</li>" for k, v in sorted(problems.items())
    )
    return f'<div class="alert" role="note"><p class="bad">{len(problems)} not measured</p><ul>{items}</ul></div>'


def _classes(summary: Summary, intervals: Mapping[tuple[int, str], Interval]) -> str:
    head = ["structure", *(SCORES[name].title for name in _HEADLINE), "median Dice"]
    head += ["cases", "missed", "invented", "in neither"]
    rows = []
    for entry in summary.labels:
        cells = [
            f"{_value(i.mean, n)} {_limits(i, n)}" for n in _HEADLINE if (i := intervals[entry.label, n])
        ]
        counts = (entry.n, entry.n_missed, entry.n_false_positive, entry.n_both_empty)
        rows.append([entry.name, *cells, _value(entry.median_dice, "dice"), *map(str, counts)])
    first = ["mean of structures", *(_value(summary.class_first[n], n) for n in _HEADLINE), *[""] * 5]
    second = ["mean of case means", *(_value(summary.case_first[n], n) for n in _HEADLINE), *[""] * 5]
    return _table(head, rows, "Each structure over all cases: mean and 95 % interval", foot=[first, second])


def _spreads(table: CaseTable) -> str:
    parts = [
        "<p>Every dot is a case; the band is the middle half, the line the median. Red: missed or invented.</p>"
    ]
    for name in _HEADLINE:
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
            parts.append(f"<h3>{SCORES[name].title}</h3>{svg_spread(groups, SCORES[name].title, *ends)}")
    return "".join(parts)


def _worst(table: CaseTable, pictures: Mapping[str, bytes]) -> str:
    parts = ["<p>By mean Dice over structures, lowest first. Solid: reference; dashed: prediction.</p>"]
    by_case: dict[str, list[CaseRow]] = {}
    for row in table.rows:
        by_case.setdefault(row.case_id, []).append(row)
    for case in (case for case in worst_first(table) if case in pictures):
        told = "; ".join(_told(row, table) for row in by_case[case] if not (row.ref_empty and row.pred_empty))
        source = base64.b64encode(pictures[case]).decode()
        alt = escape(f"Outlines of reference and prediction in case {case}. {told}", quote=True)
        parts.append(
            f'<figure><img src="data:image/png;base64,{source}" alt="{alt}" loading="lazy">'
            f"<figcaption><strong>{escape(case)}</strong> · {escape(told)}</figcaption></figure>"
        )
    if len(parts) == 1:
        rows = [[case, *(_value(r.dice, "dice") for r in by_case[case])] for case in worst_first(table)[:10]]
        parts.append(_table(["case", *table.label_names.values()], rows, "Dice of the ten worst cases"))
    return "".join(parts)


def _told(row: CaseRow, table: CaseTable) -> str:
    if row.ref_empty != row.pred_empty:
        return f"{row.name} {'missed' if row.pred_empty else 'invented'}"
    hd95 = _value(score_of(row, "hd95_mm", table.empties), "hd95_mm")
    return f"{row.name} Dice {_value(row.dice, 'dice')}" + (f", HD95 {hd95} mm" if hd95 != "–" else "")


def _size_and_spacing(table: CaseTable) -> str:
    parts = ["<p>Small structures and thick slices cost score by themselves: a single voxel weighs more.</p>"]
    for label, name in table.label_names.items():
        rows = [row for row in table.rows if row.label == label and not row.ref_empty]
        points = [Point(r.case_id, r.ref_volume_ml, r.dice, r.pred_empty) for r in rows]
        if any(not isnan(point.x) for point in points):
            parts.append(
                f"<h3>{escape(name)}</h3>{svg_scatter(points, 'volume in the reference / ml', 'Dice')}"
            )
    spacings = {row.case_id: row.spacing_mm for row in table.rows if row.spacing_mm}
    kinds = sorted({tuple(round(s, 4) for s in spacing) for spacing in spacings.values()})
    if len(kinds) == 1:
        parts.append(f"<p>Spacing of all cases: {' × '.join(f'{s:g}' for s in kinds[0])} mm.</p>")
    elif kinds:
        means = case_means(table.rows, "dice", table.empties)
        points = [Point(case, max(spacing), means[case]) for case, spacing in spacings.items()]
        parts.append(f"<h3>Spacing</h3>{svg_scatter(points, 'largest voxel edge / mm', 'mean Dice')}")
    return "".join(parts)


def _missed_and_invented(table: CaseTable) -> str:
    rows = [
        [row.case_id, row.name, "missed" if row.pred_empty else "invented", f"{max(volumes):.3g}"]
        for row in table.rows
        if row.ref_empty != row.pred_empty and (volumes := (row.ref_volume_ml, row.pred_volume_ml))
    ]
    if not rows:
        return "<p>None: every structure of a reference was found, and no other was predicted.</p>"
    return _table(["case", "structure", "what", "ml"], rows, "Structures on one side only", text_columns=3)


def _all_cases(table: CaseTable) -> str:
    names = ("dice", "nsd", "hd95_mm", "assd_mm", "volume_difference_ml")
    rows = [
        [row.case_id, row.name, *(_value(score_of(row, n, table.empties), n) for n in names)]
        for row in table.rows[:_SHOWN_ROWS]
    ]
    more = f"<p>The first {_SHOWN_ROWS} rows; table.csv has all.</p>" if len(table) > _SHOWN_ROWS else ""
    head = ["case", "structure", *(SCORES[name].title for name in names)]
    inside = _table(head, rows, "Every case and structure", text_columns=2)
    return f"<details><summary>Show {len(rows)} rows</summary>{inside}{more}</details>"


def _conventions(table: CaseTable, summary: Summary) -> str:
    tolerances = {row.name: row.nsd_tolerance_mm for row in table.rows if not isnan(row.nsd_tolerance_mm)}
    told = ", ".join(f"{name} {mm:g} mm" for name, mm in tolerances.items()) or "none"
    lines = {
        "Surfaces": summary.convention,
        "Units": "distances in mm from each case's own spacing, measured on the reference's grid",
        "Tolerances of NSD": told,
        "A structure on one side only": describe_empties(summary.empties),
        "A structure in neither map": "left out of every mean, and counted",
        "Versions": f"medconv {__version__}, NumPy {numpy.__version__}, SciPy {scipy.__version__}, "
        f"Python {platform.python_version()}",
    }
    rows = "".join(
        f'<tr><th scope="row">{k}</th><td class="text wrap">{escape(v)}</td></tr>' for k, v in lines.items()
    )
    return f'<div class="scroll"><table><caption>How the numbers were made</caption><tbody>{rows}</tbody></table></div>'


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str,
    foot: Sequence[Sequence[str]] = (),
    text_columns: int = 1,
) -> str:
    def line(cells: Sequence[str]) -> str:
        first = f'<th scope="row">{escape(cells[0])}</th>'
        rest = (
            f'<td class="text">{escape(c)}</td>' if n < text_columns else f"<td>{escape(c)}</td>"
            for n, c in enumerate(cells[1:], start=1)
        )
        return f"<tr>{first}{''.join(rest)}</tr>"

    titles = "".join(
        f'<th scope="col" class="text">{escape(t)}</th>'
        if n < text_columns
        else f'<th scope="col">{escape(t)}</th>'
        for n, t in enumerate(head)
    )
    tail = f"<tfoot>{''.join(map(line, foot))}</tfoot>" if foot else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption, quote=True)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(map(line, rows))}</tbody>{tail}</table></div>"
    )


def _value(value: float, name: str) -> str:
    return "–" if isnan(value) else f"{value:.{min(SCORES[name].digits, 3)}f}"


def _limits(found: Interval, name: str) -> str:
    return "" if isnan(found.low) else f"[{_value(found.low, name)}, {_value(found.high, name)}]"
