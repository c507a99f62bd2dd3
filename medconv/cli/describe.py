"""`medconv describe`: the network of a configuration as a table, before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from medconv.cli.configs import find_config
from medconv.cli.parser import add_plugin_option, command_parser, parse, plugins
from medconv.errors import ConfigError

if TYPE_CHECKING:
    from medconv.models import Description

_TRAINED_COPIES = 4
"""Of each weight: itself, its gradient, and the two moments of AdamW."""


def main(argv: Sequence[str]) -> int:
    """Build the network of a configuration and print what it is. Returns the exit code."""
    parser = command_parser(
        "describe",
        "The network of a configuration: layers, parameters, multiply-adds, memory, and the symmetry it keeps.",
    )
    parser.add_argument(
        "name", nargs="?", help="a shipped configuration (medconv list configs) or a YAML file; as --config"
    )
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        help="the same; repeat to merge as fit does, the last one wins",
    )
    parser.add_argument(
        "--patch", type=list[int] | None, help="voxels, such as [64,64,64]; default: the data's"
    )
    parser.add_argument("--batch-size", type=int | None, help="images in a step; default: the data's, else 1")
    parser.add_argument(
        "--spacing-mm",
        type=list[float] | None,
        help="voxel size, such as [3,1,1]; default: what the configuration says, else isotropic",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_plugin_option(parser)
    options = parse(parser, argv[1:], {"patch": "--patch [64,64,64]", "spacing_mm": "--spacing-mm [3,1,1]"})
    facts, description = collect_facts(options)
    print(json.dumps(facts, indent=2) if options.json else "\n".join(_lines(facts, description)))
    return 0


def collect_facts(options: Namespace) -> tuple[dict[str, Any], Description]:
    """Everything that is told about the network, as plain values, and its table."""
    from medconv.models import activation_bytes, build_network, describe  # seconds: torch

    names = [*([options.name] if options.name else []), *options.config]
    if not names:
        raise ConfigError("expected a configuration, got none: medconv describe --config unet_sym")
    said = " and ".join(names)
    config, spec = read_config(names), read_network(names)
    data = config.get("data") if isinstance(config.get("data"), Mapping) else {}
    settings = dict((data or {}).get("init_args") or {})
    patch = options.patch or settings.get("patch_size")
    if not patch:
        raise ConfigError(f"expected a patch, which {said} does not name; give --patch [64,64,64]")
    given = options.batch_size is not None
    batch_size = options.batch_size if given else settings.get("batch_size") or 1
    _require_positive("--patch" if options.patch else "patch_size", patch)
    _require_positive("--batch-size" if given else "batch_size", [batch_size])
    if options.spacing_mm is not None:
        spec["init_args"] = {**(spec.get("init_args") or {}), "spacing_mm": options.spacing_mm}
    network = build_network(spec, allow=plugins(options))
    description = describe(network, patch, options.spacing_mm)
    breaker = description.breaker
    facts = {
        "network": spec["class_path"],
        "patch_size": list(patch),
        "batch_size": batch_size,
        "parameters": description.parameters,
        "macs": description.macs,
        "activation_bytes": activation_bytes(network, patch, batch_size),
        "weight_bytes": _TRAINED_COPIES * sum(p.numel() * p.element_size() for p in network.parameters()),
        "symmetry": description.symmetry.name,
        "broken_by": None if breaker is None else {"layer": breaker.name, "reason": breaker.reason},
        "layers": [{**asdict(row), "symmetry": row.symmetry.name} for row in description.rows],
    }
    return facts, description


def read_config(names: Sequence[str]) -> Mapping[str, Any]:
    """Configurations, shipped or files, merged as `fit` does: the last one wins.

    Raises:
        ConfigError: A file that is no YAML, or no mapping.
        UnknownNameError: No such configuration.
    """
    return reduce(_merged, map(_read, names))


def read_network(names: Sequence[str]) -> dict[str, Any]:
    """The network of merged configurations, as ``class_path`` and ``init_args``.

    Raises:
        ConfigError: They name none.
    """
    config = read_config(names)
    model = config.get("model", config)
    spec = dict(model.get("network", model)) if isinstance(model, Mapping) else {}
    if "class_path" not in spec:
        said = " and ".join(names)
        raise ConfigError(f"expected a network in {said}, as model.network or alone, with class_path")
    return spec


def _require_positive(name: str, values: Sequence[int]) -> None:
    if any(value < 1 for value in values):
        raise ConfigError(f"{name}: expected 1 or more, got {', '.join(map(str, values))}")


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both settings, the second wins; another class begins without the options of the first."""
    if "class_path" in second and second["class_path"] != first.get("class_path"):
        return second
    both = dict(first)
    for key, value in second.items():
        own = both.get(key)
        both[key] = _merged(own, value) if isinstance(own, Mapping) and isinstance(value, Mapping) else value
    return both


def _read(name: str) -> Mapping[str, Any]:
    import yaml

    path = find_config(name)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, Mapping):
        raise ConfigError(f"expected settings by name in {path}, got {type(config).__name__}")
    return config


def _lines(facts: Mapping[str, Any], description: Description) -> Iterator[str]:
    size = "×".join(map(str, (facts["batch_size"], *facts["patch_size"])))
    yield str(description)
    yield (
        f"memory of a training step of {size} in float32: {_mib(facts['activation_bytes'])} for activations (about "
        f"half in mixed precision), {_mib(facts['weight_bytes'])} for weights, gradients and AdamW"
    )


def _mib(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB"
