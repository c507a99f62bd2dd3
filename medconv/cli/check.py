"""`medconv check`: every problem of a dataset in one list."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from medconv.cli.dataset_rules import RULE_EXAMPLES, add_rule_options, with_rules
from medconv.cli.image_layout import LAYOUT_EXAMPLES, add_layout_options, layout_of
from medconv.cli.parser import command_parser, parse
from medconv.cli.paths import require_output_folder
from medconv.cli.progress import Progress
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.io import Dataset
    from medconv.planning.problems import Problem

_DESCRIPTION = """\
Read every file of a dataset and list all that is wrong with it.

  medconv check Task04_Hippocampus
  medconv check cohort.csv -o problems.json

Errors (exit code 1): missing, unreadable or damaged files, other grids for image and label, NaN, undeclared labels,
other channels than declared, copies, a class in no case. Warnings: empty label maps, constant images, intensities and
spacings that stand out. Remarks: what is good to know.
"""

_MAX_THREADS = 8


def main(argv: Sequence[str]) -> int:
    """Discover, read, compare, tell. Returns the exit code."""
    options = _parse(argv[1:])
    if options.output and Path(options.output).is_dir():
        raise ConfigError(f"-o: expected a file to write, {options.output} is a folder; name a file in it")
    if options.output:
        require_output_folder(Path(options.output).parent)
    if options.threads < 0:
        raise ConfigError(f"--threads: expected 0 or more, got {options.threads}")
    from medconv.io import discover, write_text
    from medconv.planning.problems import Problem, in_order

    described: list[str] = []
    dataset = with_rules(discover(options.dataset, described, layout_of(options)), options)
    found = [Problem("error", "dataset", "", text) for text in described]
    problems = in_order([*found, *_inspect(dataset, options)])
    report = _report(options.dataset, dataset, problems)
    if options.output:
        write_text(options.output, json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1) if options.json else "\n".join(_lines(report, problems)))
    return int(any(problem.severity == "error" for problem in problems))


def _inspect(dataset: Dataset, options: Namespace) -> list[Problem]:
    from medconv.errors import MedconvError
    from medconv.planning.compare_cases import compare_cases
    from medconv.planning.inspect_case import CaseFacts, inspect_case
    from medconv.planning.problems import problem_of
    from medconv.planning.voxels import in_parallel

    facts: list[CaseFacts] = []
    problems: list[Problem] = []
    progress = Progress(len(dataset.cases), sys.stderr)
    done = in_parallel(
        lambda case: inspect_case(dataset, case),
        dataset.cases,
        options.threads or min(_MAX_THREADS, os.cpu_count() or 1),
        lambda cases: progress.over(cases, name=lambda case: case.case_id),
    )
    try:
        for case, outcome in done:
            if isinstance(outcome, MedconvError):
                problems.append(problem_of(outcome, case.case_id))
            else:
                facts.append(outcome)
                problems.extend(outcome.problems)
    finally:
        progress.clear()
    return [*problems, *compare_cases(dataset, facts)]


def _report(name: str, dataset: Dataset, problems: Sequence[Problem]) -> dict[str, object]:
    from medconv.planning.problems import SEVERITIES

    counts = Counter(problem.severity for problem in problems)
    return {
        "dataset": name,
        "cases": len(dataset.cases),
        **{severity: counts[severity] for severity in SEVERITIES},
        "problems": [problem.to_dict() for problem in problems],
    }


def _lines(report: dict[str, object], problems: Sequence[Problem]) -> Iterator[str]:
    for problem in problems:
        place = f"case {problem.case_id}: " if problem.case_id else ""
        yield f"{problem.severity:8} {problem.kind:10} {place}{problem.text}"
    counts = [f"{report[severity]} {severity}(s)" for severity in ("error", "warning", "remark")]
    yield f"{report['cases']} case(s) read: {', '.join(counts)}"


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("check", _DESCRIPTION)
    add = parser.add_argument
    add("dataset", help="folder with dataset.json, folder with images/ and labels/, or a CSV")
    add("-o", "--output", type=str, default=None, help="write the list as JSON too")
    add("--json", action="store_true", help="print JSON")
    add("--threads", type=int, default=0, help="cases in memory at a time; 0: one a core, at most 8")
    add_layout_options(parser)
    add_rule_options(parser)
    return parse(parser, words, RULE_EXAMPLES | LAYOUT_EXAMPLES)
