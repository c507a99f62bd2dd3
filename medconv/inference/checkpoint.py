"""What a checkpoint says about itself, and the only door through which medconv reads one.

A Lightning ``.ckpt`` is a pickle, and a pickle runs what it likes. Here nothing is run and nothing is
imported because a file asks for it: the archive is checked byte for byte, read with ``weights_only=True``,
its record is held against a schema, and class paths must lie inside medconv or a plug-in that the caller
named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medconv import __version__
from medconv.errors import CheckpointError, ConfigError, MedconvError
from medconv.inference.archive import load_plain
from medconv.models import SegmentationModel, build_network, fold, resolve_network
from medconv.planning import Plan

SCHEMA = 1
"""Version of the record under the key ``"medconv"``; raised when an older reader would misread a new file."""

_KEYS = {"schema", "version", "config", "plan", "metrics"}
_PREFIX = "network."
_COMPILED = "_orig_mod."


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was checked and read, but not yet built.

    Args:
        path: The file.
        network_spec: ``{"class_path": ..., "init_args": ...}`` of the network, plain values.
        plan: How its volumes were prepared.
        state_dict: The network's weights, without prefix, on the CPU.
        metrics: Scores noted when it was saved.
        version: The medconv that wrote it.
        config: The whole resolved configuration, plain values.
        allow: Plug-in packages that the caller named.
        epoch: Last epoch finished, counted from 0, if the file says so.
        step: Optimiser steps taken, if the file says so.
    """

    path: Path
    network_spec: dict[str, Any]
    plan: Plan
    state_dict: dict[str, Tensor]
    metrics: dict[str, Any]
    version: str
    config: dict[str, Any]
    allow: tuple[str, ...] = ()
    epoch: int | None = None
    step: int | None = None

    def build(self, *, folded: bool = True) -> SegmentationModel:
        """The network with its weights, in evaluation mode on the CPU.

        Args:
            folded: Replace every foldable operator by the plain convolution it equals.

        Raises:
            CheckpointError: The specification cannot be built, or the weights do not fit it.
        """
        # weights that are drawn and then overwritten must not move the user's random numbers
        with torch.random.fork_rng(devices=[]):
            network = self._build()
            return (fold(network) if folded else network).eval()

    def _build(self) -> SegmentationModel:
        try:
            network = build_network(self.network_spec, allow=self.allow)
        except MedconvError as error:
            raise CheckpointError(f"{self.path}: its network cannot be built: {error}") from error
        try:
            network.load_state_dict(self.state_dict, strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"{self.path}: its weights do not fit the network it describes; it was edited, or written by "
                f"an incompatible medconv ({self.version}, this is {__version__}): {error}"
            ) from error
        self._require_fit(network)
        return network

    def _require_fit(self, network: SegmentationModel) -> None:
        plan = self.plan
        built = (network.spatial_dims, network.in_channels, network.num_classes)
        planned = (plan.spatial_dims, plan.in_channels, plan.num_classes)
        if built != planned:
            raise CheckpointError(
                f"{self.path}: its network has (axes, channels, classes) {built}, its plan {planned}; "
                "the file was edited; take the original"
            )


def pack(config: Mapping[str, Any], plan: Plan, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The record that training stores under the key ``"medconv"`` of a checkpoint, as plain values.

    Args:
        config: The resolved configuration; ``config["model"]["network"]`` is the network's specification.
        plan: How volumes are prepared.
        metrics: Scores by name; numbers, or mappings of numbers.

    Raises:
        ConfigError: The network's specification is missing, or a value is not plain (its place is named).
    """
    if "network" not in config.get("model", {}):
        raise ConfigError("expected the network's specification at config['model']['network'], got none")
    record = {
        "schema": SCHEMA,
        "version": __version__,
        "config": config,
        "plan": plan.to_dict(),
        "metrics": metrics,
    }
    return {key: _plain(value, key) for key, value in record.items()}


def read_checkpoint(path: str | Path, allow: Sequence[str] = ()) -> Checkpoint:
    """Read a medconv checkpoint without running anything, or importing anything foreign, that it names.

    Args:
        path: A ``.ckpt`` written by ``medconv fit``.
        allow: Plug-in packages whose classes the network may consist of, such as ``("my_package",)``.

    Raises:
        CheckpointError: The file is missing, truncated, altered, not a medconv checkpoint, from a newer
            medconv, holds code instead of numbers, or names a class outside medconv and ``allow``.
    """
    path = Path(path)
    content = load_plain(path)
    record = _record(path, content)
    try:
        plan = Plan.from_dict(record["plan"])
        spec = resolve_network(_network_spec(record["config"]), allow)
    except MedconvError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(
        path=path,
        network_spec=spec,
        plan=plan,
        state_dict=network_state(path, content.get("state_dict")),
        metrics=record["metrics"],
        version=record["version"],
        config=record["config"],
        allow=tuple(allow),
        epoch=_count(content.get("epoch")),
        step=_count(content.get("global_step")),
    )


def network_state(path: Path, state: Any) -> dict[str, Tensor]:
    """The network's own tensors out of a task's ``state_dict``: prefix gone, traces of compilation gone.

    Raises:
        CheckpointError: There are none, one is no ordinary tensor, or a weight is not finite.
    """
    named = state.items() if isinstance(state, Mapping) else ()
    tensors = {str(key).replace(_COMPILED, ""): value for key, value in named}
    found = {key.removeprefix(_PREFIX): value for key, value in tensors.items() if key.startswith(_PREFIX)}
    if not found or not all(_is_stored(value) for value in found.values()):
        raise CheckpointError(
            f"{path}: expected weights under state_dict['network.*'], got none; train it again"
        )
    spoiled = [key for key, value in found.items() if not torch.isfinite(value).all()]
    if spoiled:
        raise CheckpointError(
            f"{path}: {len(spoiled)} weight(s) are NaN or infinite, first {spoiled[0]!r}: the training had "
            "diverged; take an earlier checkpoint"
        )
    return found


def _is_stored(value: Any) -> bool:
    """Whether a value is a tensor with its numbers: one on no device, or a sparse one, claims any size."""
    return isinstance(value, Tensor) and value.device.type == "cpu" and value.layout is torch.strided


def _record(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    record = content.get("medconv")
    if not isinstance(record, Mapping):
        raise CheckpointError(
            f"{path}: not a medconv checkpoint (keys: {', '.join(map(str, list(content)[:8]))}); "
            "give a .ckpt written by 'medconv fit'"
        )
    schema = record.get("schema")
    if type(schema) is not int or schema < 1:
        raise CheckpointError(
            f"{path}: expected a schema from 1, got {schema!r}; the file was edited; take the original"
        )
    if schema > SCHEMA:
        raise CheckpointError(
            f"{path}: written by medconv {record.get('version', '?')} in schema {schema}, this is medconv "
            f"{__version__} which reads up to schema {SCHEMA}; update: pip install -U medconv"
        )
    missing, unknown = sorted(_KEYS - set(record)), sorted(map(str, set(record) - _KEYS))
    if missing or unknown:
        raise CheckpointError(
            f"{path}: its record has missing entries {missing} and unknown entries {unknown}; "
            "the file was edited; take the original"
        )
    kinds = {"version": str, "config": Mapping, "plan": Mapping, "metrics": Mapping}
    for key, kind in kinds.items():
        if not isinstance(record[key], kind):
            raise CheckpointError(
                f"{path}: expected {key} to be {kind.__name__}, got {type(record[key]).__name__}; "
                "the file was edited; take the original"
            )
    return dict(record)


def _network_spec(config: Mapping[str, Any]) -> Any:
    model = config.get("model")
    if not isinstance(model, Mapping) or "network" not in model:
        raise CheckpointError("expected a network at medconv.config.model.network, got none; train again")
    return model["network"]


def _plain(value: Any, place: str) -> Any:
    """``value`` as nested dicts, lists, strings and Python numbers: what ``weights_only=True`` reads back."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        for key in value:
            if type(key) not in (str, int):
                raise ConfigError(f"expected names or integers as keys at {place}, got {key!r}")
        return {key: _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise ConfigError(
        f"expected a plain value at {place}, got {type(value).__name__}; store numbers and text only"
    )


def _count(value: Any) -> int | None:
    return value if type(value) is int else None
