"""`medconv info`: what a checkpoint is, for eyes or as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.cli.paths import require_file
from medconv.cli.plain_json import without_infinities
from medconv.lengths import edges_text

if TYPE_CHECKING:
    from torch import nn

    from medconv.inference import Checkpoint


def main(argv: Sequence[str]) -> int:
    """Read a checkpoint and print what it is. Returns the exit code."""
    parser = command_parser("info", "What a checkpoint is: classes, channels, spacing, operators, scores.")
    parser.add_argument("checkpoint", help=".ckpt of medconv fit")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_option(parser)
    options = parse(parser, argv[1:])
    require_file(options.checkpoint, "checkpoint")
    from medconv.inference import read_checkpoint  # seconds: torch

    facts = collect_facts(read_checkpoint(options.checkpoint, allow=plugins(options)))
    print(json.dumps(without_infinities(facts), indent=2) if options.json else "\n".join(_lines(facts)))
    return 0


def collect_facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that is known of a checkpoint, as plain values."""
    network, plan = checkpoint.build(folded=False), checkpoint.plan
    settings = {key: value for key, value in checkpoint.config["model"].items() if key != "network"}
    return {
        "checkpoint": str(checkpoint.path),
        "version": checkpoint.version,
        "network": checkpoint.network_spec["class_path"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "classes": {str(label): name for label, name in plan.declared.names.items()},
        "regions": {name: list(labels) for name, labels in plan.declared.regions.items()},
        "ignore_label": plan.ignore_label,
        "instances": None if plan.instances is None else plan.instances.to_dict(),
        "channels": dict(zip(plan.channel_names, plan.normalization, strict=True)),
        "spacing_mm": list(plan.spacing_mm),
        "unit": plan.unit,
        "orientation": plan.orientation,
        "patch_size": list(plan.patch_size),
        "settings": checkpoint.network_spec["init_args"],
        "operators": operators_by_stage(network),
        "metrics": checkpoint.metrics,
        "training": {
            "epoch": checkpoint.epoch,
            "steps": checkpoint.step,
            **settings,
            "data": checkpoint.config.get("data"),
        },
    }


def operators_by_stage(network: nn.Module) -> dict[str, dict[str, int]]:
    """How many of which operator each stage holds; a stage is a module path up to its first number."""
    from medconv.ops import ConvOp

    stages: dict[str, Counter[str]] = {}
    for path, module in network.named_modules():
        if isinstance(module, ConvOp):
            stages.setdefault(_stage(path), Counter())[type(module).__name__] += 1
    return {stage: dict(counts) for stage, counts in stages.items()}


def _stage(path: str) -> str:
    words = path.split(".")
    number = next((place for place, word in enumerate(words) if word.isdecimal()), 0)
    return ".".join(words[: number + 1])


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"checkpoint  {facts['checkpoint']}, by medconv {facts['version']}"
    yield f"network     {facts['network']}, {facts['parameters']:,} parameters"
    yield f"classes     {', '.join(f'{label} {name}' for label, name in facts['classes'].items())}"
    if facts["regions"]:
        yield f"regions     {', '.join(f'{name} {labels}' for name, labels in facts['regions'].items())}"
    if (target := facts["instances"]) is not None:
        taught = ", ".join(f"{name} {value}" for name, value in target.items() if name != "name")
        yield f"objects     told apart one by one, taught as {taught}"
    if facts["ignore_label"] is not None:
        yield f"ignored     label {facts['ignore_label']}"
    yield f"channels    {', '.join(f'{name} ({kind})' for name, kind in facts['channels'].items())}"
    yield f"spacing     {edges_text(facts['spacing_mm'], facts['unit'])}, {facts['orientation']}"
    yield f"patch       {' × '.join(map(str, facts['patch_size']))} voxels"
    for title in ("settings", "operators", "metrics", "training"):
        yield from ("", title)
        rows = facts[title]
        shown = {stage: _counts(row) for stage, row in rows.items()} if title == "operators" else rows
        yield from _rows(shown) if rows else ["  none noted"]


def _rows(values: Mapping[str, Any]) -> Iterator[str]:
    width = max(map(len, values))
    for name, value in values.items():
        if _is_table(value):
            yield f"  {name}"
            yield from _table(value)
        else:
            yield f"  {name:{width}}  {_short(value)}"


def _counts(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{name} × {count}" for name, count in operators.items())


def _is_table(value: Any) -> bool:
    rows = value if isinstance(value, list) else []
    return bool(rows) and all(isinstance(row, Mapping) and "class_path" not in row for row in rows)


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """One line a row, or one line a column where that is narrower."""
    columns = list(rows[0])
    cells = [columns, *([_short(row.get(column)) for column in columns] for row in rows)]
    if len(rows) < len(columns):
        cells = [list(column) for column in zip(*cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "    " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def _short(value: Any, is_inside: bool = False) -> str:
    """A value in one line; mappings inside others only as ``…`` (``--json`` has them)."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{', '.join(_short(item, is_inside) for item in value)}]"
    if not isinstance(value, Mapping):
        return str(value)
    if is_inside:
        return "…"
    options = value.get("init_args", value) or {}
    inside = ", ".join(f"{name}={_short(item, is_inside=True)}" for name, item in options.items())
    return f"{str(value['class_path']).rpartition('.')[2]}({inside})" if "class_path" in value else inside
