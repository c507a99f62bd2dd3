"""Checkpoints as training writes them, without a training: a small network with drawn weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from medconv.inference import pack
from medconv.models import build_network, resolve_network
from medconv.planning import Plan

SPEC = {
    "class_path": "UNet",
    "init_args": {
        "spatial_dims": 3,
        "in_channels": 1,
        "num_classes": 3,
        "channels": [4, 8],
        "conv": [{"class_path": "SymmetricConv"}, {"class_path": "StandardConv"}],
    },
}
METRICS = {
    "mean_dice": 0.875,
    "labels": [
        {"name": "head", "dice": 0.9, "hd95_mm": 2.5},
        {"name": "tail", "dice": 0.85, "hd95_mm": 3.25},
    ],
}


def tiny_plan(**changes: Any) -> Plan:
    """A plan for one channel, three classes and the voxel size of ``tiny_nifti``."""
    values = {
        "spatial_dims": 3,
        "channel_names": ("T1",),
        "label_names": {0: "background", 1: "head", 2: "tail"},
        "spacing_mm": (0.8, 0.8, 2.5),
        "patch_size": (12, 12, 8),
        "normalization": ("zscore",),
    }
    return Plan(**(values | changes))


def save_region_checkpoint(path: Path, seed: int = 0) -> Path:
    """A network of two outputs for the overlapping regions ``whole`` (labels 1, 2) and ``end`` (label 2)."""
    spec = {"class_path": "UNet", "init_args": SPEC["init_args"] | {"num_classes": 2}}
    plan = tiny_plan(regions={"whole": (1, 2), "end": (2,)}, regions_class_order=(1, 2))
    return save_checkpoint(path, seed=seed, spec=spec, plan=plan)


def content(seed: int = 0, spec: dict[str, Any] = SPEC, plan: Plan | None = None) -> dict[str, Any]:
    """What ``torch.save`` gets: parts of a Lightning checkpoint, and medconv's record."""
    torch.manual_seed(seed)
    resolved = resolve_network(spec)
    network = build_network(resolved)
    config = {
        "model": {"lr": 1e-3, "optimizer": "adamw", "network": resolved},
        "data": {"class_path": "medconv.datamodules.NiftiDataModule", "init_args": {"fold": 0}},
    }
    return {
        "state_dict": {f"network.{key}": value for key, value in network.state_dict().items()},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 1e-3}]}],
        "epoch": 4,
        "global_step": 120,
        "medconv": pack(config=config, plan=plan or tiny_plan(), metrics=METRICS),
    }


def save_checkpoint(path: Path, **options: Any) -> Path:
    """Write ``content(**options)``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content(**options), path)
    return path


def disturb_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on an export's weights come back with larger logits, by 5e-4: a fault that it must notice."""
    from medconv.export import weights

    load = weights.load_file

    def disturbed(path: Path) -> dict[str, torch.Tensor]:
        tensors = load(path)
        last = next(name for name in tensors if name.startswith("heads") and name.endswith("bias"))
        return tensors | {last: tensors[last] + 5e-4}

    monkeypatch.setattr(weights, "load_file", disturbed)
