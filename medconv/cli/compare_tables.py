"""`medconv compare-tables`: whether a second table is better than the first, on the same cases."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from math import isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from medconv.cli.parser import command_parser, parse
from medconv.cli.paths import distinct_names, require_file, require_output_folder
from medconv.cli.plain_json import without_infinities
from medconv.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from medconv.lengths import ShownUnit
    from medconv.metrics import CaseTable, InstanceTable, MembraneTable, TableDifference

    Table = CaseTable | InstanceTable | MembraneTable

_NAMED = 5
"""Cases of a table that are named where two tables share none."""

_KINDS = {"CaseTable": "structures", "InstanceTable": "objects", "MembraneTable": "membranes"}

_DESCRIPTION = """\
Compare tables of the same cases: the first is the baseline, every other is compared with it.

  medconv compare-tables plain/table.csv symmetric/table.csv
  medconv compare-tables a.csv b.csv c.csv --scores '[dice, hd95_mm]' --margins '{dice: 0.01}' -o comparison/
  medconv compare-tables plain/ ring/ --scores '[ap_50, pq]'        (tables of evaluate --instances)

Differences are other minus baseline, with 95 % bootstrap intervals over cases; p is of the paired permutation
test and of the Wilcoxon test, after Holm over all questions asked. A margin adds a test of equivalence.
"""


def main(argv: Sequence[str]) -> int:
    """Parse, read, compare, print and write. Returns the exit code."""
    options = _parse(argv[1:])
    from medconv.metrics import compare_tables

    paths = [_table_file(path) for path in options.tables]
    names = distinct_names(paths, "tables")
    tables = {name: _read(path) for name, path in zip(names, paths, strict=True)}
    _require_one_kind(tables)
    _require_meaning(options.empties, tables)
    if options.output:
        require_output_folder(options.output)
    tables, complaints = _shared_part(tables)
    scores = None if options.scores is None else _names(options.scores)
    found = compare_tables(tables, scores, options.margins, options.empties)
    print(_format(found, _unit(tables)))
    if options.output:
        for path in _write(found, Path(options.output)):
            print(f"written  {path}")
    for complaint in complaints:
        print(f"left out: {complaint}", file=sys.stderr)
    return int(bool(complaints))


def _table_file(path: str) -> Path:
    """The table itself, or the one in the folder that `evaluate -o` or a run wrote."""
    return require_file(Path(path) / "table.csv" if Path(path).is_dir() else path, "table.csv or its folder")


def _read(path: Path) -> Table:
    from medconv.metrics import read_table

    try:
        return read_table(path)
    except DatasetError as error:
        raise ConfigError(str(error)) from error


def _require_one_kind(tables: Mapping[str, Table]) -> None:
    kinds = {name: _KINDS[type(table).__name__] for name, table in tables.items()}
    if len(set(kinds.values())) > 1:
        told = ", ".join(f"{name} is one of {kind}" for name, kind in kinds.items())
        raise ConfigError(f"expected tables of one kind, {told}; evaluate all of them alike")


def _require_meaning(empties: float | str, tables: Mapping[str, Table]) -> None:
    """Refuse a policy for distances where there are none."""
    kind = _KINDS[type(next(iter(tables.values()))).__name__]
    if empties != "diagonal" and kind != "structures":
        raise ConfigError(
            f"--empties: has no meaning for tables of {kind}, which hold no distances; leave it out"
        )


def _shared_part(tables: Mapping[str, Table]) -> tuple[dict[str, Table], list[str]]:
    """The tables cut to the cases and structures that all have, and what each lost."""
    cases = {name: table.case_ids for name, table in tables.items()}
    structures = {name: tuple(table.label_names.items()) for name, table in tables.items()}
    shared_cases = _in_all(
        cases, "cases", str, "CASE.nii and CASE.nii.gz are one name, other names must be equal"
    )
    shared = _in_all(
        structures,
        "structures (number and name)",
        _structure,
        "give evaluate the same --label-names and --regions for every table",
    )
    complaints = [*_lost(cases, shared_cases, str), *_lost(structures, shared, _structure)]
    if any(_lost(structures, shared, _structure)):
        complaints[-1] += "; give evaluate the same --label-names and --regions to compare them too"
    labels = {label for label, _ in shared}
    return {
        name: table.of_cases(shared_cases).of_labels(labels) for name, table in tables.items()
    }, complaints


def _in_all(
    found: Mapping[str, Sequence[Any]], what: str, told: Callable[[Any], str], remedy: str
) -> set[Any]:
    shared = set.intersection(*map(set, found.values()))
    if not shared:
        own = "; ".join(f"{name} has {_some(values, told)}" for name, values in found.items())
        raise ConfigError(
            f"expected tables of the same {what}, they share none: {own}. {remedy.capitalize()}"
        )
    return shared


def _lost(
    found: Mapping[str, Sequence[Any]], shared: Collection[Any], told: Callable[[Any], str]
) -> list[str]:
    lost = {name: [value for value in values if value not in shared] for name, values in found.items()}
    return [
        f"{', '.join(map(told, values))}: in {name}, but not in all tables"
        for name, values in lost.items()
        if values
    ]


def _some(values: Sequence[Any], told: Callable[[Any], str]) -> str:
    listed = ", ".join(map(told, values[:_NAMED]))
    return listed + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")


def _structure(pair: tuple[int, str]) -> str:
    return f"{pair[0]} {pair[1]}"


def _names(scores: str | Sequence[str]) -> list[str]:
    """One name, several with commas, or a list."""
    return [name.strip() for name in scores.split(",")] if isinstance(scores, str) else list(scores)


def _unit(tables: Mapping[str, Table]) -> ShownUnit:
    """What distances are told in."""
    from medconv.lengths import shown_unit
    from medconv.metrics import CaseTable

    rows = [row for table in tables.values() if isinstance(table, CaseTable) for row in table.rows]
    edges = [min(row.spacing_mm) for row in rows if row.spacing_mm]
    return shown_unit(min(edges, default=nan))


def _format(found: Sequence[TableDifference], unit: ShownUnit) -> str:
    from medconv.metrics import known_score
    from medconv.metrics.length_unit import factor_in, title_in
    from medconv.reporting import format_table

    headers = [
        "structure",
        "score",
        "baseline",
        "other",
        "difference [95 %]",
        "p",
        "p Wilcoxon",
        "cases",
        "verdict",
    ]
    blocks = []
    for other in dict.fromkeys(entry.other for entry in found):
        rows = []
        for entry in (entry for entry in found if entry.other == other):
            paired, digits = entry.paired, known_score(entry.score).digits
            factor = factor_in(entry.score, unit)
            means = [f"{factor * value:.{digits}f}" for value in (paired.mean_first, paired.mean_second)]
            low, middle, high = (
                f"{factor * v:+.{digits}f}" for v in (paired.low, paired.mean_difference, paired.high)
            )
            p = [_p(entry.p_permutation_holm), _p(entry.p_wilcoxon_holm)]
            cases = f"{paired.n}" + (f" (-{paired.n_omitted})" if paired.n_omitted else "")
            title = title_in(entry.score, unit)
            rows.append([entry.name, title, *means, f"{middle} [{low}, {high}]", *p, cases, _verdict(entry)])
        blocks.append(f"{other} against {found[0].baseline}\n\n{format_table(rows, headers)}")
    notes = "p after Holm over all questions; cases (-n): without a value on a side and left out."
    return "\n\n".join([*blocks, notes])


def _verdict(entry: TableDifference) -> str:
    """The verdict, and whether a difference that was shown is nevertheless of no importance."""
    if entry.verdict in ("better", "worse") and entry.is_within_margin:
        return f"{entry.verdict}, but within the margin of {entry.paired.margin:g}"
    return entry.verdict


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
    write_text(folder / "comparison.json", json.dumps(without_infinities(plain), indent=1) + "\n")
    return [folder / "comparison.csv", folder / "comparison.json"]


def _parse(words: Sequence[str]) -> Namespace:
    parser = command_parser("compare-tables", _DESCRIPTION)
    add = parser.add_argument
    add(
        "tables",
        nargs="+",
        help="table.csv of evaluate, test or validate, or its folder; the first is the baseline",
    )
    add("-o", "--output", type=str, default=None, help="folder for comparison.csv and comparison.json")
    add("--config", action="config", help="YAML file with these options")
    add(
        "--scores",
        type=list[str] | str | None,
        default=None,
        help="what to compare: dice, or '[dice, hd95_mm]'; default: dice, nsd, hd95_mm, of objects ap, ap_50, pq",
    )
    add("--margins", type=dict[str, float], default={}, help="largest difference of no importance, by score")
    add(
        "--empties",
        type=float | str,
        default="diagonal",
        help="distance of a structure on one side only: diagonal, nan (left out) or mm",
    )
    return parse(
        parser, words, {"scores": "--scores '[dice, hd95_mm]'", "margins": "--margins '{dice: 0.01}'"}
    )
