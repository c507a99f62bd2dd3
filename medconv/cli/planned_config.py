"""A configuration for `medconv fit` of a recipe and a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from medconv.cli.dataset_rules import DATASET_RULES
from medconv.cli.describe import read_config
from medconv.cli.image_layout import layout_settings, take_layout
from medconv.cli.operator_cost import planned_settings
from medconv.planning import Proposal

_FILE_MODULES = ("NiftiDataModule", "MicroscopyDataModule")
_DECIDED = ("root", "plan", "steps_per_epoch", "spacing_mm", "patch_size", "batch_size", "normalization")
"""What the plan decides, or the command says."""

_FROM_RECIPE = (*DATASET_RULES, "instances")


def take_rules(names: Sequence[str], options: Namespace) -> None:
    """Let a plan that comes with a configuration follow its recipe where the rules of the data were not typed."""
    recipe = _kept_settings(read_config(names))
    for name in _FROM_RECIPE:
        if getattr(options, name) is None:
            setattr(options, name, recipe.get(name))
    take_layout(recipe, options)


def _kept_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own settings of the data; those of another data module mean something else."""
    data = recipe.get("data") or {}
    if str(data.get("class_path", "")).rpartition(".")[2] not in _FILE_MODULES:
        return {}
    return {key: value for key, value in (data.get("init_args") or {}).items() if key not in _DECIDED}


def planned_config(
    names: Sequence[str], options: Namespace, proposal: Proposal, spec: Mapping[str, Any], data_module: str
) -> str:
    """YAML text: the recipe of a configuration, with network, data and length as planned.

    Args:
        names: Configurations that the recipe is taken from, merged.
        options: Of ``medconv plan``: the dataset and the plan file.
        proposal: What was planned.
        spec: The network whose operators are kept.
        data_module: Name of the class that serves the dataset.
    """
    recipe = read_config(names)
    network = {
        "class_path": spec["class_path"],
        "init_args": planned_settings(spec, proposal.plan, proposal.network.stages),
    }
    network["init_args"]["deep_supervision"] = proposal.network.supervised_outputs > 1
    trainer = {k: v for k, v in (recipe.get("trainer") or {}).items() if k not in ("max_time", "max_epochs")}
    config = {
        "seed_everything": recipe.get("seed_everything", 0),
        "model": {**{k: v for k, v in recipe["model"].items() if k != "network"}, "network": network},
        "data": {
            "class_path": f"medconv.datamodules.{data_module}",
            "init_args": {
                "root": str(Path(options.dataset)),
                "plan": str(Path(options.output)),
                "steps_per_epoch": proposal.training.steps_per_epoch,
                # a recipe that nobody named says nothing about these data
                **(_kept_settings(recipe) if options.config else {}),
                **{
                    name: getattr(options, name)
                    for name in _FROM_RECIPE
                    if getattr(options, name) is not None
                },
                **layout_settings(options),
            },
        },
        "trainer": {**trainer, "max_epochs": proposal.training.epochs},
    }
    head = (
        f"# {proposal.dataset.name}, planned by medconv plan; the recipe is that of {' and '.join(names)}.\n"
        "# A time limit shortens training with its schedule: --trainer.max_time 00:01:00:00\n"
    )
    return head + yaml.safe_dump(
        config, sort_keys=False, default_flow_style=None, allow_unicode=True, width=110
    )
