"""What the data and a plan say about the network, put where a configuration leaves it open; and the plan kept."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medconv.datamodules import SegmentationDataModule
from medconv.planning import Proposal, TrainingPlan


def settle_network(init_args: MutableMapping[str, Any], data: SegmentationDataModule) -> str:
    """Give a network the voxel size of the data and, where there is a plan file, its strides and kernels.

    Args:
        init_args: Options of the network; changed.
        data: With its plan prepared.

    Returns:
        What was done with the plan file; empty where there was nothing to do.
    """
    if init_args.get("spacing_mm", 0) is None:
        init_args["spacing_mm"] = list(data.plan.spacing_mm)
    if data.plan_file is None or data.proposal is None:
        return ""
    return fill_stages(init_args, data.proposal)


def keep_plan(
    data: SegmentationDataModule,
    data_config: MutableMapping[str, Any],
    folder: Path,
    epochs: int | None,
    *,
    resumed: bool = False,
) -> None:
    """Write the plan into the folder of a run, and let the run's configuration name that copy.

    The file that was given may be edited or moved; the checkpoints of the run are measured with this one. It names the
    batch and the steps that the run has, whoever chose them. A run that continues keeps the plan that it began with; a
    patch or batch that differs is noted in its configuration.

    Args:
        data: With its plan prepared.
        data_config: Of the run and its checkpoints; changed where a plan file was given.
        folder: Of the run.
        epochs: At the most; ``None`` where the run ends by steps or minutes.
        resumed: Whether the run continues from a checkpoint.
    """
    if data.proposal is None:
        return
    kept = folder / "plan.yaml"
    is_new = not (resumed and kept.is_file())
    if is_new:
        as_trained(data.proposal, data, epochs).save(kept)
    if data.plan_file is not None:
        data_config["init_args"]["plan"] = str(kept)
        if not is_new:
            data_config["init_args"] |= {
                "patch_size": list(data.plan.patch_size),
                "batch_size": data.batch_size,
            }


def as_trained(proposal: Proposal, data: SegmentationDataModule, epochs: int | None) -> Proposal:
    """The proposal with the batch and the steps of a run; what differs has the run as its reason.

    Args:
        proposal: Of the plan file, or made now.
        data: Of the run.
        epochs: At the most; ``None`` where the run ends by steps or minutes: the planned number then stays, with a
            word about that.
    """
    planned = proposal.training
    training = TrainingPlan(data.batch_size, data.steps_per_epoch, epochs or planned.epochs)
    before, now = asdict(planned), asdict(training)
    reasons = {
        f"training.{name}": f"the configuration of the run; planned were {before[name]}"
        for name in now
        if now[name] != before[name]
    }
    if epochs is None:
        reasons["training.epochs"] = (
            "planned; the run ends by its steps or its minutes instead, see config.yaml"
        )
    return replace(proposal, training=training, reasons={**proposal.reasons, **reasons})


def fill_stages(init_args: MutableMapping[str, Any], proposal: Proposal) -> str:
    """Give a network the strides and kernels of a plan, if it has them and none were chosen.

    Args:
        init_args: Options of the network; changed.
        proposal: Of the plan file.

    Returns:
        What was done, or why nothing was; empty where there was nothing to do.
    """
    planned, channels = proposal.network, init_args.get("channels")
    open_options = [name for name in ("strides", "kernel_sizes") if init_args.get(name, 0) is None]
    if not open_options or not isinstance(channels, list | tuple):
        return ""
    if len(channels) != len(planned.channels):
        return (
            f"the network has {len(channels)} stages, the plan {len(planned.channels)}: strides and kernels follow the "
            "voxel size instead of the plan"
        )
    for name in open_options:
        init_args[name] = [list(row) for row in getattr(planned, name)]
    return f"{' and '.join(open_options)} of the network follow the plan"
