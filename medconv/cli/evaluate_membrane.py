"""`medconv evaluate --membrane`: segments between membranes, by the measures of ISBI 2012."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from medconv.cli.evaluate_kinds import Run
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, Matching
    from medconv.evaluation.membranes import Membranes
    from medconv.metrics import MembraneTable


class MembraneKind:
    """Masks or probabilities of membrane.

    Args:
        options: Of the command.

    Raises:
        ConfigError: A threshold outside 0 to 1, or none.
    """

    def __init__(self, options: Namespace) -> None:
        self._label, thresholds = options.membrane_label, options.thresholds
        if thresholds is not None and not (thresholds and all(0 <= t <= 1 for t in thresholds)):
            raise ConfigError(f"--thresholds: expected numbers from 0 to 1, got {thresholds}")
        self._thresholds = None if thresholds is None else tuple(sorted(set(thresholds)))

    def what(self, matching: Matching) -> Membranes:
        """One label against everything else."""
        from medconv.evaluation.membranes import Membranes

        del matching
        return (
            Membranes(self._label) if self._thresholds is None else Membranes(self._label, self._thresholds)
        )

    def table(self, outcomes: Sequence[CaseOutcome]) -> MembraneTable:
        """Rows image × slice × threshold."""
        from medconv.evaluation.membranes import finish_membrane_table

        return finish_membrane_table(row for outcome in outcomes for row in outcome.rows)

    def told(self, table: MembraneTable) -> str:
        """Both scores at their best thresholds."""
        from medconv.reporting.membrane_report import format_membrane_summary

        return format_membrane_summary(table)

    def emptiness(self, table: MembraneTable) -> str:
        """What is wrong if no reference has a segment, or none has a membrane."""
        listed = ", ".join(table.case_ids[:10]) + (" …" if len(table.case_ids) > 10 else "")
        if not any(row.ref_segments for row in table.rows):
            return f"no reference has a segment, all is membrane ({listed}); is --membrane-label right?"
        if all(row.ref_segments <= 1 for row in table.rows):
            return f"no reference has a membrane that parts anything ({listed}); is --membrane-label right?"
        return ""

    def write(self, table: MembraneTable, folder: Path, run: Run) -> list[tuple[str, Path]]:
        """Tables and the report with the worst images."""
        from medconv.reporting.membrane_report import draw_membrane_pairs, write_membrane_report
        from medconv.reporting.report import WORST_SHOWN

        table.to_json(folder / "table.json", run.not_measured)
        path = table.to_csv(folder / "table.csv")
        worst = run.pairs(table.worst_first()[:WORST_SHOWN])
        pictures = draw_membrane_pairs(worst, self.what(run.matching), table.best_threshold("v_rand"))
        report = write_membrane_report(table, folder / "report.html", run.notes(pictures))
        return [("table", path), ("report", report)]
