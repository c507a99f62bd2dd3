"""The head of a report: the figures that matter, what was not measured, each structure in a line."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from math import isnan

from medconv.lengths import ShownUnit
from medconv.metrics import Interval, Summary
from medconv.metrics.length_unit import title_in
from medconv.metrics.summary import in_the_mean
from medconv.reporting.html_pieces import card, counted, html_table, shown_limits, shown_value
from medconv.reporting.report_notes import ReportNotes
from medconv.reporting.tables import describe_tolerances

HEADLINE = ("dice", "nsd", "hd95_mm")
"""The scores that a report opens with."""


def overview(summary: Summary, intervals: Mapping[tuple[int, str], Interval]) -> str:
    """The figures that matter, each on a card, and what they are."""
    unit = summary.unit
    cards = [
        card(
            f"mean {title_in(name, unit)}", shown_value(found.mean, name, unit), _interval(found, name, unit)
        )
        for name in HEADLINE
        if (found := intervals.get((0, name))) and not isnan(found.mean)
    ]
    counted = in_the_mean(entry.label for entry in summary.labels)
    entries = [entry for entry in summary.labels if entry.label in counted]
    missed, invented = sum(e.n_missed for e in entries), sum(e.n_false_positive for e in entries)
    cards.append(card("structures missed", str(missed), f"of {sum(e.n - e.n_both_empty for e in entries)}"))
    cards.append(card("structures invented", str(invented), "not in the reference"))
    tolerances = describe_tolerances(summary.nsd_tolerances_mm, unit)
    within = f"within {tolerances}" if tolerances else "within a tolerance"
    distances = (
        f"NSD: share of both surfaces {escape(within)} of each other. HD95: distance that 95 % of either surface does "
        "not exceed."
        if len(known_headline(summary)) > 1
        else "No distances were measured."
    )
    brackets = (
        "Brackets: 95 % intervals, percentile bootstrap over cases. " if _has_intervals(intervals) else ""
    )
    return (
        f'<dl class="cards">{"".join(cards)}</dl><p class="soft">Means over cases within each structure, then '
        f"over structures. {brackets}{distances}</p>"
    )


def known_headline(summary: Summary) -> tuple[str, ...]:
    """The scores of the opening that any structure has: no distances where nobody knows how large a pixel is."""
    return tuple(
        name
        for name in HEADLINE
        if name == "dice" or any(not isnan(entry.scores[name].mean) for entry in summary.labels)
    )


def _has_intervals(intervals: Mapping[tuple[int, str], Interval]) -> bool:
    return any(not isnan(found.low) for found in intervals.values())


def _interval(found: Interval, name: str, unit: ShownUnit) -> str:
    limits = shown_limits(found, name, unit)
    return f"95 %: {limits}" if limits else ""


def problems_box(notes: ReportNotes, n_cases: int) -> str:
    """What was not measured, grouped by reason and folded up, and what makes the whole table doubtful.

    Args:
        notes: Its ``problems``, ``warning`` and ``without_reference``.
        n_cases: Cases that were measured.
    """
    warning, problems, without_reference = notes.warning, notes.problems, notes.without_reference
    parts = [f'<p class="bad">{escape(warning[:1].upper() + warning[1:])}</p>'] if warning else []
    if problems:
        total = n_cases + len(problems)
        parts.append(f'<p class="bad">{len(problems)} of {counted(total, "case")} not measured</p>')
        by_reason: dict[str, list[str]] = {}
        for case, reason in sorted(problems.items()):
            by_reason.setdefault(reason, []).append(case)
        own = {cases[0]: reason for reason, cases in by_reason.items() if len(cases) == 1}
        for reason, cases in by_reason.items():
            if len(cases) > 1:
                listed = f"<p>{escape(', '.join(cases))}</p>"
                parts.append(_folded(f"{reason}: {counted(len(cases), 'case')}", listed))
        if own:
            items = "".join(f"<li><strong>{escape(k)}</strong>: {escape(v)}</li>" for k, v in own.items())
            parts.append(_folded(f"a reason of its own: {counted(len(own), 'case')}", f"<ul>{items}</ul>"))
    if without_reference:
        listed = f"<p>{escape(', '.join(without_reference))}</p>"
        told = (
            f"{counted(len(without_reference), 'prediction')} without a reference of this name, not measured"
        )
        parts.append(_folded(told, listed))
    return f'<div class="alert" role="note">{"".join(parts)}</div>' if parts else ""


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def classes(summary: Summary, intervals: Mapping[tuple[int, str], Interval]) -> str:
    """A line a structure, and both means over structures."""
    unit, known = summary.unit, known_headline(summary)
    head = ["structure", *(title_in(name, unit) for name in known), "median Dice"]
    head += ["cases", "missed", "invented", "in neither"]
    rows = []
    for entry in summary.labels:
        cells = [
            f"{shown_value(i.mean, n, unit)} {shown_limits(i, n, unit)}"
            for n in known
            if (i := intervals[entry.label, n])
        ]
        counts = (entry.n, entry.n_missed, entry.n_false_positive, entry.n_both_empty)
        rows.append([entry.name, *cells, shown_value(entry.median_dice, "dice"), *map(str, counts)])
    first = ["mean of structures", *(shown_value(summary.class_first[n], n, unit) for n in known), *[""] * 5]
    second = ["mean of case means", *(shown_value(summary.case_first[n], n, unit) for n in known), *[""] * 5]
    told = "mean and 95 % interval" if _has_intervals(intervals) else "mean"
    return html_table(head, rows, f"Each structure over all cases: {told}", foot=[first, second])
