"""What the data and a plan say about the network, put where a configuration leaves it open; and the plan kept."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from medconv.datamodules import SegmentationDataModule
from medconv.planning import Proposal


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
    *,
    resumed: bool = False,
) -> None:
    """Write the plan into the folder of a run, and let the run's configuration name that copy.

    The file that was given may be edited or moved; the checkpoints of the run are measured with this one. A run that
    continues keeps the plan that it began with; a patch or batch that differs is noted in its configuration.

    Args:
        data: With its plan prepared.
        data_config: Of the run and its checkpoints; changed where a plan file was given.
        folder: Of the run.
        resumed: Whether the run continues from a checkpoint.
    """
    if data.proposal is None:
        return
    kept = folder / "plan.yaml"
    is_new = not (resumed and kept.is_file())
    if is_new:
        data.proposal.save(kept)
    if data.plan_file is not None:
        data_config["init_args"]["plan"] = str(kept)
        if not is_new:
            data_config["init_args"] |= {
                "patch_size": list(data.plan.patch_size),
                "batch_size": data.batch_size,
            }


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
