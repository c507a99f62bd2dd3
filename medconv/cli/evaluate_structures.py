"""`medconv evaluate` of classes and regions: overlap, surface distances, volumes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from medconv.cli.evaluate_kinds import Run
from medconv.errors import BadImageError, ConfigError

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, EveryLabel, Matching
    from medconv.io.declared_labels import DeclaredLabels
    from medconv.metrics import CaseTable, Structures

STRUCTURE_OPTIONS = (
    "label_names",
    "regions",
    "only_regions",
    "tolerances_mm",
    "empties",
    "surface",
    "edge",
    "directions",
)
"""Options that mean something for classes and regions only."""


class StructureKind:
    """Classes and regions, case by case.

    Args:
        options: Of the command.
    """

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._declared: Mapping[int, str] | None = None
        self._names_file: Path | None = None

    def what(self, matching: Matching) -> Structures | EveryLabel:
        """What references declare or options name; every label that occurs, where neither does."""
        from medconv.evaluation.labels import names_beside
        from medconv.metrics import Structures

        declared = _declared(matching)
        if declared.instances and not self._options.label_names:
            raise ConfigError(
                "the dataset says that its label maps number objects, not labels; add --instances, or name labels "
                "with --label-names '{1: nucleus}'"
            )
        found: dict[int, str] = {}
        if matching.pairs and not self._options.label_names and not any(declared.names):
            found, self._names_file = names_beside(matching.pairs[0].prediction)
            if self._names_file is not None:
                print(f"remark: names of structures come from {self._names_file}", file=sys.stderr)
        structures = _structures(self._options, declared, found)
        self._declared = structures.names if isinstance(structures, Structures) else None
        return structures

    def table(self, outcomes: Sequence[CaseOutcome]) -> CaseTable:
        """Rows case × structure."""
        from medconv.evaluation import finish_table

        return finish_table(outcomes, self._declared, self._options.empties)

    def told(self, table: CaseTable) -> str:
        """Each structure, the mean, the conventions."""
        from medconv.reporting import format_summary

        return format_summary(table.summary())

    def emptiness(self, table: CaseTable) -> str:
        """What is wrong if no reference holds any structure: then nothing can be found, only invented."""
        if all(row.ref_empty for row in table.rows):
            listed = ", ".join(table.case_ids[:10]) + (" …" if len(table.case_ids) > 10 else "")
            return f"no reference holds any structure ({listed}); are these the right files?"
        return ""

    def write(self, table: CaseTable, folder: Path, run: Run) -> list[tuple[str, Path]]:
        """Tables, nnU-Net's summary and the report with the worst cases."""
        from medconv.cli.table_files import write_tables
        from medconv.reporting import draw_pairs, worst_first, write_report
        from medconv.reporting.report import WORST_SHOWN

        files = {pair.case_id: (str(pair.prediction), str(pair.reference)) for pair in run.matching.pairs}
        path = write_tables(table, folder, files, run.not_measured)
        pictures = draw_pairs(run.pairs(worst_first(table)[:WORST_SHOWN]), table.label_names)
        notes = run.notes(pictures)
        if self._names_file is not None:
            source = f"names of structures: {self._names_file.name} of the predictions"
            notes = replace(notes, about=(*notes.about, source))
        report = write_report(table, folder / "report.html", notes)
        return [("table", path), ("report", report)]


def _declared(matching: Matching) -> DeclaredLabels:
    """What is declared, by the dataset or wherever the first reference that can be read says it."""
    from medconv.evaluation import declared_labels
    from medconv.io.declared_labels import DeclaredLabels

    for pair in matching.pairs:
        try:
            return declared_labels(pair.reference, matching.declared)
        except BadImageError:
            continue  # told with its case
    return DeclaredLabels()


def _structures(
    options: Namespace, declared: DeclaredLabels, of_predictions: Mapping[int, str]
) -> Structures | EveryLabel:
    """What to measure; options win over what references declare, and this over the names of predictions."""
    from medconv.evaluation import EveryLabel
    from medconv.metrics import Structures, SurfaceConvention

    names = options.label_names or {label: name for label, name in declared.names.items() if label}
    # where a dataset has regions, its labels have no names of their own: the regions are what is meant
    has_own = bool(options.regions or options.label_names)
    regions = dict(options.regions or {}) if has_own else {k: list(v) for k, v in declared.regions.items()}
    only_regions = options.only_regions or (bool(regions) and not has_own)
    ignore_label = declared.ignore_label if options.ignore_label is None else options.ignore_label
    convention = SurfaceConvention(options.surface, options.edge, options.directions)
    tolerances = options.tolerances_mm
    if options.only_regions and not regions:
        raise ConfigError("--only-regions: expected regions, got none; give --regions '{whole: [1, 2]}'")
    if not names and (regions or isinstance(tolerances, dict)):
        names = {label: name for label, name in of_predictions.items() if label != ignore_label}
        if not names:
            raise ConfigError(
                "expected declared labels for regions or tolerances by name; give --label-names '{1: head}'"
            )
    if not names:
        return EveryLabel(tolerances, convention, ignore_label, of_predictions)
    if isinstance(tolerances, dict):
        numbers = {} if only_regions else {name: label for label, name in names.items()}
        numbers |= {name: -number for number, name in enumerate(regions, start=1)}
        if unknown := sorted(set(tolerances) - set(numbers)):
            raise ConfigError(f"tolerances of unknown structures {unknown}; there are {', '.join(numbers)}")
        tolerances = {numbers[name]: mm for name, mm in tolerances.items()}
    return Structures(names, regions, tolerances, only_regions, convention, ignore_label)
