"""`medconv compare-tables`: whether a second table is better than the first, on the same cases."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from math import isfinite, isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from medconv.cli.parser import command_parser, parse
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.metrics import CaseTable, TableDifference

_DESCRIPTION = """\
Compare tables of the same cases: the first is the baseline, every other is compared with it.

  medconv compare-tables plain/table.csv symmetric/table.csv
  medconv compare-tables a.csv b.csv c.csv --scores '[dice, hd95_mm]' --margins '{dice: 0.01}' -o comparison/

Differences are other minus baseline, with 95 % bootstrap intervals over cases; p is of the paired permutation
test and of the Wilcoxon test, after Holm over all questions asked. A margin adds a test of equivalence.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, read, compare, print and write. Returns the exit code."""
    options = _parse(argv[1:])
    from medconv.metrics import CaseTable, compare_tables

    names = _distinct([Path(path) for path in options.tables])
    tables = {name: CaseTable.from_csv(path) for name, path in zip(names, options.tables, strict=True)}
    tables, complaints = _same_cases(tables)
    found = compare_tables(tables, options.scores, options.margins, options.empties)
    print(_format(found))
    if options.output:
        for path in _write(found, Path(options.output)):
            print(f"written  {path}")
    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)
    return int(bool(complaints))


def _same_cases(tables: Mapping[str, CaseTable]) -> tuple[dict[str, CaseTable], list[str]]:
    """The tables cut to the cases that all have, and which cases each lost."""
    shared = set.intersection(*(set(table.case_ids) for table in tables.values()))
    if not shared:
        raise ConfigError(f"expected tables of the same cases, {' and '.join(tables)} share none")
    lost = {name: sorted(set(table.case_ids) - shared) for name, table in tables.items()}
    complaints = [
        f"{', '.join(cases)}: in {name}, but not in all tables" for name, cases in lost.items() if cases
    ]
    return {name: table.of_cases(shared) for name, table in tables.items()}, complaints


def _distinct(paths: Sequence[Path]) -> list[str]:
    """Short names: file names, with as much of the folders as tells them apart."""
    for depth in range(1, 1 + max(len(path.parts) for path in paths)):
        names = [Path(*path.parts[-depth:]).as_posix() for path in paths]
        if len(set(names)) == len(names):
            return names
    raise ConfigError(f"expected different tables, got one twice: {', '.join(map(str, paths))}")


def _format(found: Sequence[TableDifference]) -> str:
    from medconv.metrics import SCORES
    from medconv.reporting import format_table

    headers = ["structure", "score", "baseline", "other", "difference [95 %]", "p", "p Wilcoxon", "cases", ""]
    blocks = []
    for other in dict.fromkeys(entry.other for entry in found):
        rows = []
        for entry in (entry for entry in found if entry.other == other):
            paired, digits = entry.paired, SCORES[entry.score].digits
            means = [f"{value:.{digits}f}" for value in (paired.mean_first, paired.mean_second)]
            low, middle, high = (
                f"{v:+.{digits}f}" for v in (paired.low, paired.mean_difference, paired.high)
            )
            p = [_p(entry.p_permutation_holm), _p(entry.p_wilcoxon_holm)]
            cases = f"{paired.n}" + (f" (-{paired.n_omitted})" if paired.n_omitted else "")
            title = SCORES[entry.score].title
            rows.append([entry.name, title, *means, f"{middle} [{low}, {high}]", *p, cases, entry.verdict])
        blocks.append(f"{other} against {found[0].baseline}\n\n{format_table(rows, headers)}")
    notes = "p after Holm over all questions; cases (-n): without a value on a side and left out."
    return "\n\n".join([*blocks, notes])


def _p(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _write(found: Sequence[TableDifference], folder: Path) -> list[Path]:
    from medconv.io import write_text

    plain = [entry.to_dict() for entry in found]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(plain[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(plain)
    write_text(folder / "comparison.csv", stream.getvalue())
    cleaned = [{key: _finite(value) for key, value in row.items()} for row in plain]
    write_text(folder / "comparison.json", json.dumps(cleaned, indent=1) + "\n")
    return [folder / "comparison.csv", folder / "comparison.json"]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("compare-tables", _DESCRIPTION)
    add = parser.add_argument
    add("tables", nargs="+", help="table.csv of evaluate, test or validate; the first is the baseline")
    add("-o", "--output", type=str, default=None, help="folder for comparison.csv and comparison.json")
    add("--config", action="config", help="YAML file with these options")
    add("--scores", type=list[str], default=["dice", "nsd", "hd95_mm"], help="what to compare")
    add("--margins", type=dict[str, float], default={}, help="largest difference of no importance, by score")
    add(
        "--empties",
        type=float | str,
        default="diagonal",
        help="distance of a structure on one side only: diagonal, nan (left out) or mm",
    )
    return parse(parser, words)
