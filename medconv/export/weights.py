"""Weights as safetensors beside a JSON specification: everything a checkpoint says, in two files that hold no code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from medconv import __version__
from medconv.errors import CheckpointError, MedconvError
from medconv.inference import Checkpoint, Predictor
from medconv.io import write_text
from medconv.models import SegmentationModel, build_network, fold
from medconv.planning import Plan

SCHEMA = 1
WEIGHTS, SPECIFICATION = "model.safetensors", "model.json"
_KEYS = {"format", "schema", "medconv", "folded", "network", "plan", "metrics", "weights"}


def write_weights(checkpoint: Checkpoint, network: SegmentationModel, folder: Path) -> None:
    """Write ``model.safetensors`` and ``model.json``.

    Args:
        checkpoint: Where the network, plan and metrics come from.
        network: Folded: operators that equal a plain convolution are one, so that the weights have the names
            and shapes of an ordinary network.
        folder: Exists.
    """
    # safetensors refuses tensors that share memory or are strided
    tensors = {name: value.detach().clone().contiguous() for name, value in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt", "specification": SPECIFICATION})
    specification = {
        "format": "medconv",
        "schema": SCHEMA,
        "medconv": __version__,
        "folded": True,
        "network": checkpoint.network_spec,
        "plan": checkpoint.plan.to_dict(),
        "metrics": checkpoint.metrics,
        "weights": WEIGHTS,
    }
    write_text(folder / SPECIFICATION, json.dumps(_finite(specification), indent=2) + "\n")


def read_weights(folder: str | Path, allow: Sequence[str] = ()) -> tuple[SegmentationModel, Plan]:
    """The network and plan of an export as safetensors.

    Args:
        folder: With ``model.json`` and ``model.safetensors``; or the path of ``model.json``.
        allow: Plug-in packages whose classes the network may consist of.

    Raises:
        CheckpointError: A file is absent, damaged, of a newer medconv, or names a class outside medconv and
            ``allow``; or the weights do not fit.
    """
    folder = Path(folder)
    folder = folder.parent if folder.name == SPECIFICATION else folder
    specification = _specification(folder / SPECIFICATION)
    try:
        plan = Plan.from_dict(specification["plan"])
        with torch.random.fork_rng(devices=[]):
            network = fold(build_network(specification["network"], allow)).eval()
    except MedconvError as error:
        raise CheckpointError(f"{folder / SPECIFICATION}: {error}") from error
    _load(network, folder / WEIGHTS)
    return network, plan


def load_exported(folder: str | Path, *, allow: Sequence[str] = (), **options: Any) -> Predictor:
    """A ``Predictor`` from an export as safetensors, as ``medconv.load`` gives one from a checkpoint.

    Args:
        folder: With ``model.json`` and ``model.safetensors``.
        allow: Plug-in packages whose classes the network may consist of.
        options: Those of ``Predictor``: ``device``, ``overlap``, ``mirror``, ``precision`` …

    Raises:
        CheckpointError: As ``read_weights``.
    """
    network, plan = read_weights(folder, allow)
    return Predictor([network], [plan], **options)


def _specification(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected the specification of an export ({' '.join(str(error).split()):.200}); "
            "make it again: medconv export CHECKPOINT --to safetensors -o FOLDER"
        ) from error
    is_ours = isinstance(content, dict) and content.get("format") == "medconv"
    # before the keys, which another schema may have others of
    if is_ours and content.get("schema", SCHEMA) != SCHEMA:
        raise CheckpointError(
            f"{path}: written by medconv {content.get('medconv', '?')} in schema {content['schema']}, this is medconv "
            f"{__version__} which reads schema {SCHEMA}; update: pip install -U medconv"
        )
    if not is_ours or set(content) != _KEYS:
        raise CheckpointError(
            f"{path}: expected a specification with {', '.join(sorted(_KEYS))}; the file was edited, or is another's"
        )
    return dict(content)


def _load(network: SegmentationModel, path: Path) -> None:
    try:
        tensors = load_file(path)
        network.load_state_dict(tensors, strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise CheckpointError(
            f"{path}: expected the weights of the network in {SPECIFICATION} ({text:.300}); export it again"
        ) from error
    spoiled = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if spoiled:
        raise CheckpointError(
            f"{path}: weights that are NaN or infinite, first {spoiled[0]!r}; export it again"
        )


def _finite(value: Any) -> Any:
    """The same with ``null`` for NaN and infinity, which JSON cannot say."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
