"""`medconv evaluate`: masks against references, as a table, a summary and a report."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import ArgumentParser, Namespace

from medconv.cli.evaluate_instances import InstanceKind
from medconv.cli.evaluate_kinds import NO_REFERENCE, Kind, Run, refuse_options
from medconv.cli.evaluate_membrane import MembraneKind
from medconv.cli.evaluate_structures import STRUCTURE_OPTIONS, StructureKind
from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import command_parser, parse
from medconv.cli.paths import require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.evaluation import CaseOutcome, Matching

_DESCRIPTION = """\
Measure masks against references: Dice, surface distances in mm or µm, volumes, case by case.

  medconv evaluate masks/ labelsTs/ -o evaluation/
  medconv evaluate masks/ Task04_Hippocampus -o evaluation/ --tolerances-mm 1
  medconv evaluate masks/ labels/ --regions '{tumour core: [1, 3], whole tumour: [1, 2, 3]}'
  medconv evaluate masks/ labels/ --instances -o evaluation/       (one number an object: AP, F1, PQ, AJI)
  medconv evaluate probabilities/ labels/ --membrane -o evaluation/    (ISBI 2012: Rand and information)

Files are paired by name; CASE.nii, CASE.nii.gz and CASE_0000.nii.gz are one name. Cases that cannot be
measured are listed, the others are done, and the exit code is 1. OUT holds report.html, table.csv (every case
and structure, or every image), table.json (with conventions and summary) and, of structures, summary.json in
nnU-Net's shape. Regions and the ignore label of a dataset count unless options say otherwise.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, match, measure, write, tell. Returns the exit code."""
    options, kind = _parse(argv[1:])
    from medconv.evaluation import match_cases, measure_pairs

    matching = match_cases(options.predictions, options.references, options.images, layout_of(options))
    if options.output:
        require_output_folder(options.output)
    problems = dict(matching.problems)
    problems |= dict.fromkeys(matching.without_prediction, "no prediction of this name")
    for name in matching.without_reference:
        print(f"not measured: {name}: {NO_REFERENCE}", file=sys.stderr)
    outcomes: list[CaseOutcome] = []
    if matching.pairs:
        progress = Progress(len(matching.pairs), sys.stderr)
        measured = measure_pairs(matching.pairs, kind.what(matching), options.workers)
        for outcome in progress.over(measured, name=lambda outcome: outcome.pair.case_id):
            outcomes.append(outcome)
        progress.clear()
    problems |= {outcome.pair.case_id: outcome.problem for outcome in outcomes if outcome.problem}
    has_table = any(outcome.rows for outcome in outcomes)
    if has_table:
        table = kind.table(outcomes)
        print(kind.told(table))
        emptiness = kind.emptiness(table)
        if options.output:
            written = kind.write(table, Path(options.output), Run(options, matching, problems, emptiness))
            print("\n" + "\n".join(f"{what:<8}{path}" for what, path in written), flush=True)
        problems |= {"references": emptiness} if emptiness else {}
    _tell(outcomes, problems, matching)
    return int(bool(problems) or not has_table)


def _tell(outcomes: Sequence[CaseOutcome], problems: Mapping[str, str], matching: Matching) -> None:
    for outcome in sorted(outcomes, key=lambda outcome: outcome.pair.case_id):
        if outcome.remark:
            print(f"remark: {outcome.pair.case_id}: {outcome.remark}", file=sys.stderr)
    for name, problem in sorted(problems.items()):
        print(f"failed: {name}: {problem}", file=sys.stderr)
    total = len(matching.pairs) + len(matching.problems) + len(matching.without_prediction)
    done = sum(bool(outcome.rows) for outcome in outcomes)
    print(f"{done} of {total} case(s) measured", file=sys.stderr)


def _parse(words: Sequence[str]) -> tuple[Namespace, Kind]:
    parser = _parser()
    examples = {
        **LAYOUT_EXAMPLES,
        "label_names": "--label-names '{1: head, 2: tail}'",
        "regions": "--regions '{whole tumour: [1, 2, 3]}'",
        "tolerances_mm": "--tolerances-mm 2, or --tolerances-mm '{head: 1, tail: 2}'",
        "thresholds": "--thresholds '[0.3, 0.5, 0.7]'",
    }
    options = parse(parser, words, examples)
    return options, _kind(options, parser.get_defaults())


def _kind(options: Namespace, defaults: Namespace) -> Kind:
    """What to measure.

    Raises:
        ConfigError: Options that contradict each other, or would change nothing.
    """
    if options.instances and options.membrane:
        raise ConfigError("expected --instances or --membrane, got both; measure one after the other")
    if isinstance(options.empties, str) and options.empties not in ("diagonal", "inf", "nan"):
        raise ConfigError(
            f"--empties: expected diagonal, inf, nan or a number of mm, got {options.empties!r}"
        )
    if options.instances or options.membrane:
        why = "with --instances" if options.instances else "with --membrane"
        refuse_options(options, defaults, STRUCTURE_OPTIONS, why)
    if options.membrane:
        refuse_options(options, defaults, ["ignore_label"], "with --membrane")
        return MembraneKind(options)
    refuse_options(options, defaults, ["membrane_label", "thresholds"], "without --membrane")
    return InstanceKind(options) if options.instances else StructureKind(options)


def _parser() -> ArgumentParser:
    parser = command_parser("evaluate", _DESCRIPTION)
    add = parser.add_argument
    add("predictions", help="folder of masks, or one file")
    add("references", help="folder of masks, one file, or a dataset (dataset.json, CSV)")
    add("-o", "--output", type=str, default=None, help="folder for tables and report; without, only print")
    add("--config", action="config", help="YAML file with these options")
    add("--instances", action="store_true", help="maps hold one number an object: measure single objects")
    add(
        "--membrane",
        action="store_true",
        help="masks or probabilities of membrane: ISBI 2012, segments between",
    )
    add("--membrane-label", type=int, default=1, help="the label of membrane in references and masks")
    add(
        "--thresholds",
        type=list[float] | None,
        default=None,
        help="membrane is where its probability is at least so large; default 0.1, 0.2 … 1",
    )
    add("--ignore-label", type=int | None, default=None, help="value of voxels that nobody labelled")
    add(
        "--label-names",
        type=dict[int, str],
        default={},
        help="names of labels; default: what the references declare, else what the predictions call them",
    )
    add("--regions", type=dict[str, list[int]], default={}, help="unions of labels to measure too, by name")
    add("--only-regions", action="store_true", help="measure no single classes")
    add(
        "--tolerances-mm",
        type=float | dict[str, float] | None,
        default=None,
        help="of the normalised surface Dice: one number, or one a structure by its name; default: 1 mm, and two "
        "pixels where these are smaller than 20 µm",
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
    add("--workers", type=int, default=0, help="processes; 0: one a core where that pays")
    return parser
