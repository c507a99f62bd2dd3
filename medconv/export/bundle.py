"""A MONAI bundle: a folder that MONAI's own command and MONAI Label run, without medconv."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.utils.enums import IgniteInfo

from medconv import __version__
from medconv.errors import ConfigError
from medconv.export.bundle_config import inference_config
from medconv.export.card import Statement
from medconv.export.torchscript import write_torchscript
from medconv.inference import Checkpoint
from medconv.io import write_text
from medconv.models import SegmentationModel
from medconv.planning import Plan

MODEL = "models/model.ts"
SCHEMA_URL = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)


def write_bundle(
    checkpoint: Checkpoint,
    network: SegmentationModel,
    folder: Path,
    statement: Statement,
    figures: Mapping[str, Any],
) -> None:
    """Write a bundle but for its ``docs/README.md``, which is the model card.

    Args:
        checkpoint: Where the plan comes from.
        network: Folded, in evaluation mode, on the CPU.
        folder: Made here.
        statement: Name, licence and authors.
        figures: Of ``read_figures``.

    Raises:
        ConfigError: The network cannot be traced, answers for regions, scales intensities
            within a mask, or is the first half of telling objects apart.
    """
    if checkpoint.plan.instances is not None:
        raise ConfigError(
            "a MONAI bundle takes the largest score of each voxel, but objects are told apart only after this network; "
            "export it with --to torch, onnx or safetensors, or label with medconv predict"
        )
    if checkpoint.plan.masked_normalization:
        raise ConfigError(
            "a MONAI bundle has no words for intensities that are scaled within a mask without holes, as the plan of "
            "this network wants it; export it with --to torch, onnx or safetensors, or predict with medconv"
        )
    if checkpoint.plan.regions:
        raise ConfigError(
            f"a MONAI bundle takes the largest score, but this network answers for the regions "
            f"{', '.join(checkpoint.plan.regions)}, which overlap; export it with --to torch, onnx or safetensors, "
            "or label with medconv predict"
        )
    (folder / "models").mkdir(parents=True)
    takes_batches = write_torchscript(network, checkpoint.plan.patch_size, folder / MODEL)
    write_text(folder / "configs/inference.json", _json(inference_config(checkpoint.plan, takes_batches)))
    write_text(folder / "configs/metadata.json", _json(metadata(checkpoint.plan, statement, figures)))
    write_text(folder / "LICENSE", statement.licence_text + "\n")


def metadata(plan: Plan, statement: Statement, figures: Mapping[str, Any]) -> dict[str, Any]:
    """``metadata.json``: what MONAI's schema of 2024-07-25 asks for.

    Args:
        plan: Of the network.
        statement: Name, licence and authors.
        figures: Of ``read_figures``.
    """
    structures = ", ".join(list(plan.label_names.values())[1:])
    scores = figures.get("summary", {})
    found = {key: scores.get(f"class_first_mean_{key}") for key in ("dice", "nsd", "hd95_mm")}
    return {
        "schema": SCHEMA_URL,
        "version": "0.1.0",
        "changelog": {"0.1.0": f"exported by medconv {__version__}"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {
            "nibabel": version("nibabel"),
            "pytorch-ignite": IgniteInfo.OPT_IMPORT_VERSION,
        },
        "supported_apps": {},
        "name": statement.name,
        "task": f"Segmentation of {structures}",
        "description": f"Labels {structures} in {', '.join(plan.channel_names)}; research use only.",
        "authors": statement.authors or "not stated",
        "copyright": statement.licence or "no licence stated",
        "data_type": "nibabel",
        "image_classes": ", ".join(plan.channel_names),
        "label_classes": ", ".join(f"{value} {name}" for value, name in plan.label_names.items()),
        "pred_classes": ", ".join(f"{value} {name}" for value, name in plan.label_names.items()),
        "eval_metrics": {f"mean_{key}": value for key, value in found.items() if value is not None},
        "intended_use": "Research; no medical device, and no decision about a patient may rest on it.",
        "network_data_format": _data_format(plan),
    }


def _data_format(plan: Plan) -> dict[str, Any]:
    """What goes into the network, and what comes out: MONAI Label takes the labels from here."""

    def tensor(kind: str, names: Mapping[int, str]) -> dict[str, Any]:
        return {
            "type": "image",
            "format": kind,
            "num_channels": len(names),
            "spatial_shape": list(plan.patch_size),
            "dtype": "float32",
            "value_range": [],
            "is_patch_data": True,
            "channel_def": {str(number): name for number, name in names.items()},
        }

    return {
        "inputs": {"image": tensor("magnitude", dict(enumerate(plan.channel_names)))},
        "outputs": {"pred": tensor("segmentation", plan.label_names)},
    }


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
