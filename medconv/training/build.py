"""From a configuration to a task: the one door for the command, the notebook and the tests."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from medconv.catalogue import did_you_mean
from medconv.datamodules import SegmentationDataModule
from medconv.errors import ConfigError, UnknownNameError
from medconv.losses import Loss
from medconv.models import build_network, resolve_network
from medconv.models.build import to_plain
from medconv.models.spec import spell_out
from medconv.training.task import SegmentationTask


def build_task(config: Mapping[str, Any] | str | Path, allow: Iterable[str] = ()) -> SegmentationTask:
    """Build the task that a configuration describes; the resolved configuration travels in its checkpoints.

    Args:
        config: The settings of ``SegmentationTask`` as plain values, or the path of a YAML file. A whole run's
            configuration (with ``model:`` inside, beside ``data:`` and ``trainer:``) is accepted too.
        allow: Plug-in packages whose classes may be named.

    Raises:
        UnknownNameError: An unknown class or option; the text offers the nearest.
        ConfigError: A foreign class, a value of the wrong type, or one outside its range.

    Example:
        >>> task = build_task({"network": {"class_path": "UNet", "init_args": {
        ...     "spatial_dims": 2, "in_channels": 1, "num_classes": 3, "channels": [4, 8], "conv": "SymmetricConv"}}})
        >>> task.config["network"]["init_args"]["conv"]["class_path"]
        'medconv.ops.SymmetricConv'
    """
    settings = _settings(config)
    resolved = _resolve(settings, tuple(allow))
    network = build_network(resolved["network"], allow)
    loss = None if resolved["loss"] is None else _instantiate(resolved["loss"], Loss)
    plain = {name: value for name, value in resolved.items() if name not in ("network", "loss")}
    task = SegmentationTask(network, loss=loss, **plain)
    task.config = resolved
    return task


def build_data(config: Mapping[str, Any] | str, allow: Iterable[str] = ()) -> SegmentationDataModule:
    """Build the data module that a configuration describes.

    Args:
        config: ``{"class_path": …, "init_args": …}`` with plain values, or a class name such as
            ``"DemoDataModule"``.
        allow: Plug-in packages whose classes may be named.

    Raises:
        UnknownNameError: An unknown class or option; the text offers the nearest.
        ConfigError: A foreign class, or a value of the wrong type.

    Example:
        >>> build_data({"class_path": "DemoDataModule", "init_args": {"batch_size": 3}}).batch_size
        3
    """
    return _instantiate(
        spell_out(config, SegmentationDataModule, allow=tuple(allow), place="data"), SegmentationDataModule
    )


def _settings(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(config, str | Path):
        config = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    if not isinstance(config, Mapping):
        raise ConfigError(f"expected settings by name, got {type(config).__name__}")
    model = config.get("model", config)
    if not isinstance(model, Mapping):
        raise ConfigError(f"model: expected settings by name, got {type(model).__name__}")
    settings = dict(model)
    options = list(inspect.signature(SegmentationTask).parameters)
    for name in settings:
        if name not in options:
            raise UnknownNameError(
                f"model: no option {name!r}{did_you_mean(str(name), options)}. Options: {', '.join(options)}"
            )
    if "network" not in settings:
        raise ConfigError("model: expected network, such as {class_path: UNet, init_args: {…}}; got none")
    return settings


def _resolve(settings: dict[str, Any], allow: tuple[str, ...]) -> dict[str, Any]:
    """All settings as plain values, defaults included, classes by their full path."""
    network = resolve_network(settings["network"], allow)
    loss = settings.get("loss")
    loss = None if loss is None else spell_out(loss, Loss, allow=allow, place="loss")  # type: ignore[type-abstract]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SegmentationTask, skip={"network", "loss"})
    plain = {name: value for name, value in settings.items() if name not in ("network", "loss")}
    return {"network": network, "loss": loss, **to_plain(_parse(parser, plain))}


def _instantiate(spec: dict[str, Any], base: type) -> Any:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--it", type=base)
    return parser.instantiate(_parse(parser, {"it": spec})).it


def _parse(parser: ArgumentParser, values: dict[str, Any]) -> Any:
    try:
        # nested lists would be changed in place
        return parser.parse_object(deepcopy(values))
    except Exception as error:  # jsonargparse raises several kinds of errors, all about the values
        raise ConfigError(" ".join(str(error).split())) from error
