"""What a robustness study leaves: tables, a picture and a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, cast

from jsonargparse import Namespace

from medconv import __version__
from medconv.cli.plain_json import without_infinities
from medconv.cli.robustness_page import conventions, level_panels, report_tables
from medconv.io import write_text
from medconv.metrics.row_text import RowText
from medconv.metrics.scores import known_score
from medconv.reporting import draw_levels, write_level_report
from medconv.study import (
    UPRIGHT,
    Arm,
    Examination,
    Robustness,
    agreement_points,
    compare_levels,
    curve_points,
)
from medconv.study.measures import Table


def write_study(
    found: Robustness,
    examination: Examination,
    options: Namespace,
    arms: Sequence[Arm],
    problems: Mapping[str, str],
) -> list[Path]:
    """Write every file of a study into ``options.output``; the report comes last."""
    folder, scores = Path(options.output), options.scores
    points, agreements = curve_points(found, scores), agreement_points(found)
    comparisons = compare_levels(found, scores)
    settled = conventions(found, examination, arms, options.data)
    tables = {
        "robustness": [point.to_dict() for point in points],
        "cases": list(_case_rows(found)),
        "agreement": list(_agreement_rows(found)),
        "comparison": [comparison.to_dict() for comparison in comparisons],
    }
    written = [_write_csv(folder / f"{name}.csv", rows) for name, rows in tables.items() if rows]
    plain = {
        "medconv": __version__,
        "conventions": settled,
        "curves": tables["robustness"],
        "agreement": [point.to_dict() for point in agreements],
        "comparison": tables["comparison"],
        "not_examined": dict(problems),
    }
    write_text(folder / "robustness.json", json.dumps(without_infinities(plain), indent=1) + "\n")
    panels = {known_score(score).title: level_panels(found, points, score, examination) for score in scores}
    picture = folder / "robustness.png"
    draw_levels([panel for own in panels.values() for panel in own], picture)
    page = write_level_report(
        folder / "report.html",
        "Robustness report",
        [
            date.today().isoformat(),
            f"{len(found.case_ids)} cases of {Path(options.data).resolve().name}",
            *found.arms,
        ],
        panels,
        report_tables(found, points, agreements, comparisons),
        settled,
        problems,
        len(found.case_ids),
    )
    return [*written, folder / "robustness.json", picture, page]


def _case_rows(found: Robustness) -> Iterator[dict[str, Any]]:
    for arm in found.arms:
        for condition in (UPRIGHT, *found.conditions):
            head = {"arm": arm, "series": condition.series, "level": condition.level}
            yield from (head | row for row in _plain(found.table(arm, condition)))
    for condition in found.conditions:
        ceiling = found.ceiling(condition)
        head = {"arm": "(ceiling)", "series": condition.series, "level": condition.level}
        yield from (head | row for row in (_plain(ceiling) if ceiling else ()))


def _plain(table: Table) -> Iterator[dict[str, Any]]:
    """Every column of every row; several numbers as text."""
    for row in table.rows:
        values = cast("RowText[Any]", table.text).plain(row)
        yield {k: " ".join(map(repr, v)) if isinstance(v, tuple) else v for k, v in values.items()}


def _agreement_rows(found: Robustness) -> Iterator[dict[str, Any]]:
    for arm in found.arms:
        for condition in found.conditions:
            for case, own in sorted(found.agreement(arm, condition).items()):
                head = {"arm": arm, "series": condition.series, "level": condition.level, "case_id": case}
                yield head | asdict(own)


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, stream.getvalue())
    return path
