"""From plain values to a network and back, for configurations and checkpoints."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import Any

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings

from medconv.errors import ConfigError
from medconv.models.base import SegmentationModel
from medconv.models.budget import require_affordable
from medconv.models.parse_errors import explain_parse_error
from medconv.models.spec import class_path_of, spell_out

MAX_BYTES = 16 * 2**30
"""What building a network may allocate in all; the largest published ones need a quarter of it."""

TRUSTED = ("medconv", "lightning.pytorch", "torch.nn", "torch.optim")
"""Where a run's configuration may take classes from, besides the plug-ins that the user names."""


def build_network(spec: Mapping[str, Any] | str, allow: Iterable[str] = ()) -> SegmentationModel:
    """Build the network that a specification describes.

    Args:
        spec: ``{"class_path": ..., "init_args": {...}}``; classes by short name or by path, also nested ones.
        allow: Packages of plug-ins whose classes may be named besides medconv's. Nothing else is imported.

    Raises:
        UnknownNameError: No such class or option; the text offers the nearest.
        ConfigError: A foreign class, a value of the wrong type, or a size that no machine can hold.

    Example:
        >>> net = build_network({"class_path": "UNet", "init_args": {
        ...     "spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [4, 8],
        ...     "block": {"class_path": "ResidualBlock", "init_args": {"depth": 3}}}})
        >>> type(net.encoder.blocks[0]).__name__, len(net.encoder.blocks[0].units)
        ('ResidualBlock', 3)
    """
    parser, parsed = _parse(spec, allow)
    require_affordable(partial(parser.instantiate, parsed), MAX_BYTES)
    return parser.instantiate(parsed).network


def resolve_network(spec: Mapping[str, Any] | str, allow: Iterable[str] = ()) -> dict[str, Any]:
    """Write a specification in full: plain values, full class paths and all defaults. Builds nothing.

    Args:
        spec: As for ``build_network``.
        allow: As for ``build_network``.

    Raises:
        UnknownNameError: As ``build_network``.
        ConfigError: As ``build_network``, but for what shows only in building.

    Example:
        >>> options = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2}
        >>> full = resolve_network({"class_path": "UNet", "init_args": options})
        >>> full["class_path"], full["init_args"]["conv"]["class_path"], full["init_args"]["norm"]
        ('medconv.models.UNet', 'medconv.ops.StandardConv', 'instance')
        >>> resolve_network(full) == full
        True
    """
    return to_plain(_parse(spec, allow)[1].network)


def to_plain(parsed: Any) -> Any:
    """The values of a parsed configuration as JSON knows them: no namespaces, classes, tuples or paths.

    Raises:
        ConfigError: A value that no plain value stands for.

    Example:
        >>> to_plain(Namespace(channels=(4, 8), conv=Namespace(class_path="medconv.ops.StandardConv")))
        {'channels': [4, 8], 'conv': {'class_path': 'medconv.ops.StandardConv'}}
    """
    if isinstance(parsed, Namespace):
        parsed = vars(parsed)
    if isinstance(parsed, Mapping):
        return {str(key): to_plain(value) for key, value in parsed.items()}
    if isinstance(parsed, list | tuple):
        return [to_plain(value) for value in parsed]
    if isinstance(parsed, type):
        return {"class_path": class_path_of(parsed), "init_args": {}}
    if isinstance(parsed, PurePath):
        return str(parsed)
    if parsed is None or isinstance(parsed, str | bool | int | float):
        return parsed
    raise ConfigError(
        f"expected plain values in a configuration, got {parsed!r:.200} ({type(parsed).__name__})"
    )


@contextmanager
def restrict_class_paths(allow: Iterable[str] = ()) -> Iterator[None]:
    """Make jsonargparse refuse, before importing, every class path outside ``TRUSTED`` and ``allow``.

    For a command, which owns its process: jsonargparse keeps one policy for the whole process and offers no
    way to take it back. On leaving, the plug-ins of this block are denied again; the rest of the policy
    stays. ``build_network`` and ``resolve_network`` do without it: they refuse foreign paths before
    jsonargparse sees them, and allow the plug-ins that their caller names.
    """
    plugins = [package for package in allow if package not in TRUSTED]
    set_parsing_settings(
        import_path_denylist=["*"],
        import_path_allowlist=[*TRUSTED, *plugins],
        instantiate_subclass_spec_in_any=False,
    )
    try:
        yield
    finally:
        set_parsing_settings(import_path_denylist=plugins)


def _parse(spec: Mapping[str, Any] | str, allow: Iterable[str]) -> tuple[ArgumentParser, Namespace]:
    """Check names first, with our own words, then types and defaults by jsonargparse.

    That takes longer than to build most networks, and a checkpoint's specification is first written in full and then
    built: what was parsed last is kept. Not with plug-ins, whose classes may be others under the same name.
    """
    plugins = list(allow)
    try:
        text = "" if plugins else json.dumps(spec, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        text = ""  # classes in place of their paths, or what is refused below
    kept = _latest.get(text)
    if kept is None:
        kept = _parse_anew(spec, plugins)
        _latest.clear()
        if text:
            _latest[text] = kept
    return kept


_latest: dict[str, tuple[ArgumentParser, Namespace]] = {}


def _parse_anew(spec: Mapping[str, Any] | str, plugins: list[str]) -> tuple[ArgumentParser, Namespace]:
    full = spell_out(spec, SegmentationModel, allow=tuple(plugins))
    if plugins:  # a command that ran earlier in this process may have left them denied
        set_parsing_settings(import_path_allowlist=plugins)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=SegmentationModel)
    try:
        return parser, parser.parse_object({"network": full})
    except ArgumentError as error:
        raise ConfigError(explain_parse_error(error)) from error
