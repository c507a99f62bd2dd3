"""The table and the report of `medconv predict` replace nothing of anybody else: looked at before any work is done."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace

from medconv.cli.paths import require_output_file
from medconv.errors import ConfigError

TABLE_COLUMNS = ("case", "label", "name", "voxels", "volume_ml")
"""With which every table of structures begins."""

REGION_TABLE_COLUMNS = ("case", "object")
"""With which every table of objects begins."""

REPORT_KEYS = ("schema", "status", "command", "versions", "cases")
"""Which every report of a run has."""


def require_own_files(options: Namespace) -> None:
    """Refuse a ``--stats``, ``--region-table`` or ``--report`` that would cost the user a file, or rows of another job.

    Args:
        options: Of the command, parsed; ``shard`` as a pair.

    Raises:
        ConfigError: A place where nothing can be written, an input, a file of something else, or one file for both
            tables or for several shards; with what to do.
    """
    inputs = [*options.input, *options.checkpoint]
    if options.stats is not None:
        require_output_file(options.stats, ".csv", "--stats")
        _refuse_input(options.stats, inputs, "--stats")
        _require_table(Path(options.stats), "--stats", TABLE_COLUMNS)
    if options.region_table is not None:
        require_output_file(options.region_table, ".csv", "--region-table")
        _refuse_input(options.region_table, inputs, "--region-table")
        if (
            options.stats is not None
            and Path(options.stats).resolve() == Path(options.region_table).resolve()
        ):
            raise ConfigError(
                f"--region-table: {options.region_table} is the file of --stats too and would replace it; name another "
                "file"
            )
        _require_table(Path(options.region_table), "--region-table", REGION_TABLE_COLUMNS)
    if options.report is not None:
        require_output_file(options.report, ".json", "--report")
        _refuse_input(options.report, inputs, "--report")
        _require_report(Path(options.report))
    if options.shard and options.shard[1] > 1:
        for option in ("stats", "region_table", "report"):
            _require_number(getattr(options, option), option, *options.shard)


def _refuse_input(path: str, inputs: Sequence[str], option: str) -> None:
    if Path(path).resolve() in {Path(item).resolve() for item in inputs}:
        raise ConfigError(f"{option}: {path} is an input and would be replaced; name another file")


def _require_table(path: Path, option: str, expected: Sequence[str]) -> None:
    if not _has_content(path):
        return
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            columns = tuple(next(csv.reader(stream), ()))
    except (OSError, ValueError, csv.Error):
        columns = ()
    if columns[: len(expected)] != tuple(expected):
        raise ConfigError(
            f"{option}: {path} exists and is no table of medconv predict (expected columns {', '.join(expected)} "
            f"…, got {', '.join(columns)[:80] or 'none'}), so it is not replaced; name another file"
        )


def _require_report(path: Path) -> None:
    if not _has_content(path):
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not set(REPORT_KEYS) <= set(content):
        raise ConfigError(
            f"--report: {path} exists and is no report of medconv predict (expected {', '.join(REPORT_KEYS)}), so it "
            "is not replaced; name another file"
        )


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _require_number(path: str | None, option: str, number: int, count: int) -> None:
    """A name that all shards share loses the rows of all but the last; one with the number of the shard does not."""
    if path is not None and number not in map(int, re.findall(r"\d+", path)):
        own, option = (
            Path(path).with_name(f"{Path(path).stem}_{number}{Path(path).suffix}"),
            option.replace("_", "-"),
        )
        raise ConfigError(
            f"--{option}: {count} shards would write the same {path}; give each a file of its own that is called after "
            f"its number, here --{option} {own}"
        )
