"""`medconv list`: what there is to choose from, one line each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import isclass, isroutine

from medconv.catalogue import catalogue, did_you_mean
from medconv.cli.configs import first_comment, shipped_configs
from medconv.cli.parser import command_parser, parse
from medconv.errors import ConfigError


def main(argv: Sequence[str]) -> int:
    """Print the catalogue of one kind. Returns the exit code."""
    parser = command_parser("list", "What there is to choose from, one line each.")
    parser.add_argument("kind", nargs="?", default=None, help=f"one of: {', '.join(KINDS)}")
    parser.add_argument("--markdown", action="store_true", help="ops only: the table of docs/operators.md")
    options = parse(parser, argv[1:])
    kind = options.kind
    if kind is None:
        raise ConfigError(f"expected what to list: medconv list {'|'.join(KINDS)}")
    if options.markdown and kind != "ops":
        raise ConfigError(f"expected --markdown with ops only, got it with {kind!r}")
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or "."
        raise ConfigError(f"nothing called {kind!r} to list{hint} Kinds: {', '.join(KINDS)}")
    if kind == "ops":
        print(_operators(markdown=options.markdown))
    else:
        print(format_rows(KINDS[kind]()))
    return 0


def format_rows(rows: Mapping[str, str]) -> str:
    """Names in one column, what they are in the next."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name:{width}}  {what}".rstrip() for name, what in rows.items())


def first_line(thing: object) -> str:
    """The first line of a docstring; nothing where there is none."""
    return (inspect.getdoc(thing) or "").split("\n", maxsplit=1)[0]


def _ops() -> dict[str, str]:
    return _classes("medconv.ops", "ConvOp", "medconv.convs")


def _operators(*, markdown: bool) -> str:
    """All operators with what they assume, cost and keep; plug-ins only on the screen."""
    room = import_module("medconv.ops")
    summary = import_module("medconv.ops.summary")
    kinds = room.conv_catalogue()
    if markdown:
        own = {name: kind for name, kind in kinds.items() if kind.__module__.startswith("medconv.")}
        return str(summary.markdown_table(own)).rstrip("\n")
    rows = [summary.HEAD, *(summary.summarise(kind).cells for kind in kinds.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _attention() -> dict[str, str]:
    return _classes("medconv.attention", "Attention") | _classes("medconv.attention", "SkipAttention")


def _losses() -> dict[str, str]:
    return _classes("medconv.losses", "Loss")


def _metrics() -> dict[str, str]:
    room = import_module("medconv.metrics")
    offered = {name: getattr(room, name) for name in sorted(room.__all__)}
    return {name: first_line(thing) for name, thing in offered.items() if isroutine(thing) or isclass(thing)}


def _configs() -> dict[str, str]:
    return {name: first_comment(path) for name, path in shipped_configs().items()}


def _classes(room: str, base: str, entry_point_group: str | None = None) -> dict[str, str]:
    found = catalogue(getattr(import_module(room), base), entry_point_group)
    return {name: first_line(cls) for name, cls in found.items()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "ops": _ops,
    "attention": _attention,
    "losses": _losses,
    "metrics": _metrics,
    "configs": _configs,
}
