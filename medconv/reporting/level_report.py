"""The page of a robustness study: what is lost, the curves, the tables behind them, how it was measured."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from medconv.io.atomic import write_text
from medconv.reporting.html_pieces import counted, facts_table, html_table, plot
from medconv.reporting.level_panel import (
    ARM_COLOURS,
    ARM_COLOURS_ON_DARK,
    LevelPanel,
    value_range,
)
from medconv.reporting.report_notes import ReportNotes
from medconv.reporting.report_overview import problems_box
from medconv.reporting.report_page import page_html
from medconv.reporting.svg import svg_levels


def _arms(colours: Sequence[str]) -> str:
    return "".join(f" .arm{n} {{ stroke: {c}; fill: {c}; }}" for n, c in enumerate(colours))


STYLE = f"""
svg .line {{ fill: none; stroke-width: 2; }} svg .shade {{ fill-opacity: .16; stroke: none; }}
svg .point {{ stroke: none; }}
svg .ceiling {{ fill: none; stroke: var(--soft); stroke-dasharray: 2 4; stroke-width: 1.6; }}
{_arms(ARM_COLOURS)} svg .line {{ fill: none; }} svg .shade {{ stroke: none; }}
@media (prefers-color-scheme: dark) {{{_arms(ARM_COLOURS_ON_DARK)} svg .line {{ fill: none; }} }}
"""
"""Beside the style of every report."""


@dataclass(frozen=True)
class ReportTable:
    """A table of the page.

    Args:
        caption: What it shows.
        head: Titles of the columns.
        rows: Text.
        text_columns: So many columns from the left hold text.
        note: What must be known to read it, above it.
        is_folded: Whether it opens on demand.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    note: str = ""
    is_folded: bool = False


def write_level_report(
    path: str | os.PathLike[str],
    title: str,
    about: Sequence[str],
    panels: Mapping[str, Sequence[LevelPanel]],
    tables: Mapping[str, ReportTable],
    conventions: Mapping[str, str],
    problems: Mapping[str, str],
    n_cases: int,
    summary: str = "Overview",
) -> Path:
    """Write the page; the file appears whole or not at all.

    Args:
        path: The HTML file.
        title: Heading.
        about: Where the figures come from, below the heading.
        panels: Plots by the title of the score.
        tables: By the heading of their section; the one called as ``summary`` comes before the plots.
        conventions: How the figures were made, by what is settled.
        problems: Cases that could not be examined, and why.
        n_cases: Cases that were.
        summary: See ``tables``.

    Returns:
        The path.
    """
    first = {name: table for name, table in tables.items() if name == summary}
    sections = {
        name: _shown(table) + problems_box(ReportNotes(problems=problems), n_cases)
        for name, table in first.items()
    }
    sections |= {f"Curves: {score}": _curves(own) for score, own in panels.items()}
    sections |= {name: _shown(table) for name, table in tables.items() if name != summary}
    sections["Conventions"] = facts_table(conventions, "How the numbers were made")
    write_text(Path(path), page_html(title, about, sections, STYLE))
    return Path(path)


def _curves(panels: Sequence[LevelPanel]) -> str:
    low, high = value_range(panels)
    parts = ["<p>Means over cases; shaded: 95 % intervals, percentile bootstrap over cases.</p>"]
    if any(panel.ceiling for panel in panels):
        parts.append(
            "<p>Dotted: the reference turned there and back against itself. That is what interpolating labels costs, "
            "whoever made them.</p>"
        )
    for panel in panels:
        parts.append(f"<h3>{escape(panel.title)}</h3>{plot(svg_levels(panel, low, high))}")
    return "".join(parts)


def _shown(table: ReportTable) -> str:
    inside = html_table(table.head, table.rows, table.caption, text_columns=table.text_columns)
    note = f"<p>{escape(table.note)}</p>" if table.note else ""
    if not table.is_folded:
        return note + inside
    return f"{note}<details><summary>Show {counted(len(table.rows), 'row')}</summary>{inside}</details>"
