"""The report of a table of membranes: both ISBI 2012 scores, every threshold, the worst images first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import isnan
from pathlib import Path

import numpy as np

from medconv.errors import MedconvError
from medconv.evaluation import Pair
from medconv.evaluation.membranes import Membranes
from medconv.evaluation.read_pair import reader_of
from medconv.io.atomic import write_text
from medconv.metrics import MEMBRANE_SCORES, Interval, MembraneTable
from medconv.metrics.membrane import segments_of
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
from medconv.reporting.instance_drawing import draw_instance_errors, png_bytes
from medconv.reporting.report_notes import NO_NOTES, ReportNotes
from medconv.reporting.report_overview import problems_box
from medconv.reporting.report_page import page_html, versions
from medconv.reporting.svg import Point, svg_spread
from medconv.reporting.tables import format_table

_HEADLINE = ("v_rand", "v_info")
_MEANING = {
    "v_rand": "pairs of pixels kept together and apart",
    "v_rand_split": "low where segments are split",
    "v_rand_merge": "low where segments are merged",
    "v_info": "information shared by both partitions",
    "v_info_split": "low where segments are split",
    "v_info_merge": "low where segments are merged",
}


def write_membrane_report(
    table: MembraneTable,
    path: str | os.PathLike[str],
    notes: ReportNotes = NO_NOTES,
) -> Path:
    """Write the report of a table of membranes; the file appears whole or not at all.

    Args:
        table: What was measured; at least one row.
        path: The HTML file.
        notes: What it tells beside the table; pictures as from ``draw_membrane_pairs``.

    Returns:
        The path.
    """
    summary, intervals = table.summary(), table.intervals()
    sections = {
        "Overview": _overview(table, intervals)
        + problems_box(notes, summary.n_images)
        + _scores(table, intervals),
        "Thresholds": _thresholds(table),
        "Spread over images": _spread(table),
        "Worst images": _worst(table, notes.pictures),
        "Conventions": _conventions(table),
    }
    told = [extent(summary.n_images, len(notes.problems), "image"), *notes.about]
    write_text(Path(path), page_html(notes.title or "Membrane report", told, sections))
    return Path(path)


def draw_membrane_pairs(pairs: Sequence[Pair], membranes: Membranes, threshold: float) -> dict[str, bytes]:
    """A PNG an image: outlines of segments that were found, missed and invented; of a stack, its middle slice.

    Args:
        pairs: The files; both can be read.
        membranes: How they were measured.
        threshold: At which probabilities are cut.
    """
    return {pair.case_id: _draw(pair, membranes, threshold) for pair in pairs}


def _draw(pair: Pair, membranes: Membranes, threshold: float) -> bytes:
    ref = reader_of(pair, pair.reference).read_labels(pair.reference).data[0]
    pred, z = membranes.read_prediction(pair), ref.shape[2] // 2
    image = np.zeros(ref.shape, np.float32)
    if pair.image is not None:
        try:
            found = reader_of(pair, pair.image).read_volume(pair.image).data[0]
            image = found if found.shape == ref.shape else image
        except MedconvError:
            pass  # what is wrong with the image is no matter of this table
    border = pred[..., z] >= threshold if pred.dtype.kind == "f" else pred[..., z] == membranes.label
    segments = segments_of(border, thin=True), segments_of(ref[..., z] == membranes.label, thin=True)
    return png_bytes(draw_instance_errors(image[..., z], *segments))


def format_membrane_summary(table: MembraneTable) -> str:
    """The summary as text: every score at its best threshold, with its interval."""
    summary, intervals = table.summary(), table.intervals()
    rows = []
    for name, score in MEMBRANE_SCORES.items():
        found = intervals[name]
        limits = "-" if isnan(found.low) else f"[{found.low:.4f}, {found.high:.4f}]"
        value = "-" if isnan(found.mean) else f"{found.mean:.4f}"
        rows.append([score.title, value, limits, f"{summary.best_thresholds[name]:g}", _MEANING[name]])
    lines = [
        f"{counted(summary.n_images, 'image')}; {table.convention}.",
        *(
            [f"{counted(summary.n_without_segments, 'image')} without segments in the reference, in no mean."]
            if summary.n_without_segments
            else []
        ),
    ]
    head = ["score", "mean", "95 %", "threshold", "what it is"]
    return "\n".join([format_table(rows, head), "", *lines])


def _overview(table: MembraneTable, intervals: Mapping[str, Interval]) -> str:
    summary = table.summary()
    cards = "".join(
        card(
            MEMBRANE_SCORES[name].title,
            shown_value(intervals[name].mean, name),
            f"95 %: {shown_limits(intervals[name], name)}<br>threshold {summary.best_thresholds[name]:g}"
            if shown_limits(intervals[name], name)
            else f"threshold {summary.best_thresholds[name]:g}",
        )
        for name in _HEADLINE
    )
    return (
        f'<dl class="cards">{cards}</dl><p class="soft">Means over images at the threshold with the best mean. '
        "Brackets: 95 % intervals, percentile bootstrap over images.</p>"
    )


def _scores(table: MembraneTable, intervals: Mapping[str, Interval]) -> str:
    best = table.summary().best_thresholds
    rows = [
        [
            score.title,
            _MEANING[name],
            f"{shown_value(intervals[name].mean, name)} {shown_limits(intervals[name], name)}".strip(),
            f"{best[name]:g}",
        ]
        for name, score in MEMBRANE_SCORES.items()
    ]
    return html_table(
        ["score", "what it is", "mean", "threshold"], rows, "Each score, with 95 % interval", text_columns=2
    )


def _thresholds(table: MembraneTable) -> str:
    rows = [
        [f"{t:g}", *(shown_value(means[name], name) for name in MEMBRANE_SCORES)]
        for t, means in table.summary().by_threshold.items()
    ]
    head = ["membrane from", *(score.title for score in MEMBRANE_SCORES.values())]
    return html_table(head, rows, "Means over images at each threshold")


def _spread(table: MembraneTable) -> str:
    groups = {
        MEMBRANE_SCORES[name].title: [Point(case, value) for case, value in table.columns(name)[1].items()]
        for name in MEMBRANE_SCORES
    }
    told = "Every dot is an image at the best threshold; the band is the middle half, the line the median."
    return f"<p>{told}</p>{plot(svg_spread(groups, 'score', None, 1.0))}"


def _worst(table: MembraneTable, pictures: Mapping[str, bytes]) -> str:
    columns = {name: table.columns(name)[1] for name in MEMBRANE_SCORES}
    order = table.worst_first()
    shown = "".join(
        figure(
            case,
            pictures[case],
            ", ".join(f"{MEMBRANE_SCORES[n].title} {shown_value(columns[n][case], n)}" for n in _HEADLINE),
            "Outlines of segments in image",
        )
        for case in order
        if case in pictures
    )
    rows = [[case, *(shown_value(columns[n][case], n) for n in MEMBRANE_SCORES)] for case in order]
    every = html_table(
        ["image", *(s.title for s in MEMBRANE_SCORES.values())], rows, "Every image, worst first"
    )
    told = "Green: segments of the reference that were found; red: missed; dashed: the prediction, orange: invented."
    return f"<p>By V Rand, lowest first. {told}</p>{shown}<details><summary>Every image</summary>{every}</details>"


def _conventions(table: MembraneTable) -> str:
    lines = {
        "Segments": table.convention,
        "Line of the prediction": "pixels on it that lie in a segment of the reference are segments of their own",
        "One segment on both sides": "counts as 1 for the information scores, which have nothing to share then",
        "Source": "Arganda-Carreras et al., Frontiers in Neuroanatomy 2015",
        "Versions": versions(),
    }
    return facts_table(lines, "How the numbers were made")
