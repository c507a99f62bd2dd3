"""`medconv evaluate --instances`: single objects, found, missed, split and merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from medconv.cli.evaluate_kinds import Run

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, Instances, Matching
    from medconv.metrics import InstanceTable


class InstanceKind:
    """Maps with one number an object.

    Args:
        options: Of the command.
    """

    def __init__(self, options: Namespace) -> None:
        self._ignore_label: int | None = options.ignore_label

    def what(self, matching: Matching) -> Instances:
        """Objects of any number, but for the one that says nothing."""
        from medconv.evaluation import Instances

        if self._ignore_label is None:
            self._ignore_label = matching.declared.ignore_label
        return Instances(self._ignore_label)

    def table(self, outcomes: Sequence[CaseOutcome]) -> InstanceTable:
        """A row an image."""
        from medconv.evaluation import finish_instance_table

        return finish_instance_table(row for outcome in outcomes for row in outcome.rows)

    def told(self, table: InstanceTable) -> str:
        """Every score over images and over objects."""
        from medconv.reporting.instance_report import format_instance_summary

        return format_instance_summary(table)

    def emptiness(self, table: InstanceTable) -> str:
        """What is wrong if no reference holds any object: then nothing can be found, only invented."""
        if table.summary().ref_objects:
            return ""
        listed = ", ".join(table.case_ids[:10]) + (" …" if len(table.case_ids) > 10 else "")
        return f"no reference holds any object ({listed}); are these the right files?"

    def write(self, table: InstanceTable, folder: Path, run: Run) -> list[tuple[str, Path]]:
        """Tables and the report with the worst images."""
        from medconv.reporting.instance_pictures import draw_instance_pairs
        from medconv.reporting.instance_report import write_instance_report
        from medconv.reporting.report import WORST_SHOWN

        table.to_json(folder / "table.json", run.not_measured)
        path = table.to_csv(folder / "table.csv")
        worst = run.pairs(table.worst_first()[:WORST_SHOWN])
        notes = run.notes(draw_instance_pairs(worst, self._ignore_label))
        report = write_instance_report(table, folder / "report.html", notes)
        return [("table", path), ("report", report)]
