"""`medconv evaluate`: masks against references, as a table, a summary and a report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from medconv.cli.image_layout import add_layout_options, layout_of
from medconv.cli.parser import command_parser, parse
from medconv.cli.paths import require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, EveryLabel, Matching
    from medconv.metrics import CaseTable, Structures

_DESCRIPTION = """\
Measure masks against references: Dice, surface distances in mm, volumes, case by case.

  medconv evaluate masks/ labelsTs/ -o evaluation/
  medconv evaluate masks/ Task04_Hippocampus -o evaluation/ --tolerances-mm 1
  medconv evaluate masks/ labels/ --regions '{tumour core: [1, 3], whole tumour: [1, 2, 3]}'

Files are paired by name; CASE.nii, CASE.nii.gz and CASE_0000.nii.gz are one name. Cases that cannot be
measured are listed, the others are done, and the exit code is 1. OUT holds report.html, table.csv (every case
and structure), table.json (with conventions and summary) and summary.json in nnU-Net's shape.
"""

_NO_REFERENCE = "no reference of this name"


def main(argv: Sequence[str]) -> int:
    """Parse, match, measure, write, tell. Returns the exit code."""
    options = _parse(argv[1:])
    from medconv.evaluation import declared_label_names, finish_table, match_cases, measure_pairs
    from medconv.metrics import Structures
    from medconv.reporting import format_summary

    matching = match_cases(options.predictions, options.references, options.images, layout_of(options))
    if options.output:
        require_output_folder(options.output)
    problems = dict(matching.problems)
    problems |= dict.fromkeys(matching.without_prediction, "no prediction of this name")
    for name in matching.without_reference:
        print(f"not measured: {name}: {_NO_REFERENCE}", file=sys.stderr)
    outcomes: list[CaseOutcome] = []
    if matching.pairs:
        names = options.label_names or declared_label_names(matching.pairs[0].reference, matching.label_names)
        structures = _structures(options, names)
        declared = structures.names if isinstance(structures, Structures) else None
        progress = Progress(len(matching.pairs), sys.stderr)
        measured = measure_pairs(matching.pairs, structures, options.workers)
        for outcome in progress.over(measured, name=lambda outcome: outcome.pair.case_id):
            outcomes.append(outcome)
        progress.clear()
    problems |= {outcome.pair.case_id: outcome.problem for outcome in outcomes if outcome.problem}
    table = None
    if any(outcome.rows for outcome in outcomes):
        table = finish_table(outcomes, declared, options.empties)
        print(format_summary(table.summary()))
        emptiness = _emptiness(table)
        if options.output:
            _write(options, table, matching, problems, emptiness)
        problems |= {"references": emptiness} if emptiness else {}
    _tell(outcomes, problems, matching)
    return int(bool(problems) or table is None)


def _structures(options: Namespace, names: Mapping[int, str]) -> Structures | EveryLabel:
    """What to measure; every label that occurs, where neither file nor option declares any."""
    from medconv.evaluation import EveryLabel
    from medconv.metrics import Structures, SurfaceConvention

    regions = dict(options.regions or {})
    convention = SurfaceConvention(options.surface, options.edge, options.directions)
    tolerances = options.tolerances_mm
    if options.only_regions and not regions:
        raise ConfigError("--only-regions: expected regions, got none; give --regions '{whole: [1, 2]}'")
    if not names:
        if regions or isinstance(tolerances, dict):
            raise ConfigError(
                "expected declared labels for regions or tolerances by name; give --label-names '{1: head}'"
            )
        return EveryLabel(tolerances, convention)
    if isinstance(tolerances, dict):
        numbers = {name: label for label, name in names.items()}
        numbers |= {name: -number for number, name in enumerate(regions, start=1)}
        if unknown := sorted(set(tolerances) - set(numbers)):
            raise ConfigError(f"tolerances of unknown structures {unknown}; there are {', '.join(numbers)}")
        tolerances = {numbers[name]: mm for name, mm in tolerances.items()}
    return Structures(names, regions, tolerances, options.only_regions, convention)


def _emptiness(table: CaseTable) -> str:
    """What is wrong if no reference holds any structure: then nothing can be found, only invented."""
    if all(row.ref_empty for row in table.rows):
        listed = ", ".join(table.case_ids[:10]) + (" …" if len(table.case_ids) > 10 else "")
        return f"no reference holds any structure ({listed}); are these the right files?"
    return ""


def _write(
    options: Namespace, table: CaseTable, matching: Matching, problems: Mapping[str, str], emptiness: str
) -> None:
    from medconv.cli.table_files import write_tables
    from medconv.reporting import draw_pairs, worst_first, write_report
    from medconv.reporting.report import WORST_SHOWN

    folder = Path(options.output)
    files = {pair.case_id: (str(pair.prediction), str(pair.reference)) for pair in matching.pairs}
    strangers = dict.fromkeys(matching.without_reference, _NO_REFERENCE)
    path = write_tables(table, folder, files, {**problems, **strangers})
    pairs = {pair.case_id: pair for pair in matching.pairs}
    worst = [pairs[case] for case in worst_first(table)[:WORST_SHOWN]]
    report = write_report(
        table,
        folder / "report.html",
        draw_pairs(worst, table.label_names),
        problems,
        about=(
            date.today().isoformat(),
            f"predictions: {_name(options.predictions)}",
            f"references: {_name(options.references)}",
        ),
        warning=emptiness,
        without_reference=matching.without_reference,
    )
    print(f"\ntable   {path}\nreport  {report}", flush=True)


def _name(path: str) -> str:
    """What a file or folder is called, without the folders above it; a dataset is called as its folder."""
    full = Path(path).resolve()
    return full.parent.name if full.name == "dataset.json" else full.name


def _tell(outcomes: Sequence[CaseOutcome], problems: Mapping[str, str], matching: Matching) -> None:
    for outcome in sorted(outcomes, key=lambda outcome: outcome.pair.case_id):
        if outcome.remark:
            print(f"remark: {outcome.pair.case_id}: {outcome.remark}", file=sys.stderr)
    for name, problem in sorted(problems.items()):
        print(f"failed: {name}: {problem}", file=sys.stderr)
    total = len(matching.pairs) + len(matching.problems) + len(matching.without_prediction)
    done = sum(bool(outcome.rows) for outcome in outcomes)
    print(f"{done} of {total} case(s) measured", file=sys.stderr)


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("evaluate", _DESCRIPTION)
    add = parser.add_argument
    add("predictions", help="folder of masks, or one file")
    add("references", help="folder of masks, one file, or a dataset (dataset.json, CSV)")
    add("-o", "--output", type=str, default=None, help="folder for tables and report; without, only print")
    add("--config", action="config", help="YAML file with these options")
    add("--label-names", type=dict[int, str], default={}, help="names of labels; default: what files declare")
    add("--regions", type=dict[str, list[int]], default={}, help="unions of labels to measure too, by name")
    add("--only-regions", action="store_true", help="measure no single classes")
    add(
        "--tolerances-mm",
        type=float | dict[str, float],
        default=1.0,
        help="of the normalised surface Dice: one number, or one a structure by its name",
    )
    add(
        "--empties",
        type=float | str,
        default="diagonal",
        help="distance of a structure on one side only: diagonal, inf, nan (left out) or mm",
    )
    add("--surface", type=Literal["voxel", "surfel"], default="voxel", help="what distances run between")
    add(
        "--edge", type=Literal["count", "ignore"], default="count", help="whether the image's edge is surface"
    )
    add(
        "--directions",
        type=Literal["directed_max", "pooled"],
        default="directed_max",
        help="what HD95 is made of: the larger of both directions, or both pooled",
    )
    add("--images", type=str, default=None, help="folder of the images, for the pictures of the report")
    add_layout_options(parser, has_channel=False)
    add("--workers", type=int, default=0, help="processes; 0: one a core where there are cases enough")
    options = parse(
        parser,
        words,
        {
            "label_names": "--label-names '{1: head, 2: tail}'",
            "regions": "--regions '{whole tumour: [1, 2, 3]}'",
            "tolerances_mm": "--tolerances-mm 2, or --tolerances-mm '{head: 1, tail: 2}'",
        },
    )
    if isinstance(options.empties, str) and options.empties not in ("diagonal", "inf", "nan"):
        raise ConfigError(
            f"--empties: expected diagonal, inf, nan or a number of mm, got {options.empties!r}"
        )
    return options
