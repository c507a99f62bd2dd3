"""From a dataset to a plan by the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, Literal

from medconv.errors import ConfigError, DatasetError
from medconv.io.cases import Case, Dataset
from medconv.io.nifti import Header
from medconv.planning import reasons as why
from medconv.planning.bounds import check_count
from medconv.planning.channel_kinds import ChannelKind, kind_of_channel
from medconv.planning.dataset_cropping import Cropping, find_cropping
from medconv.planning.dataset_identity import DatasetIdentity
from medconv.planning.fingerprint import read_headers, refuse_cases, summarise_intensities
from medconv.planning.footprint import MAX_SHARE, PLAIN, count_map_voxels
from medconv.planning.grid import DatasetGrid, default_orientation, summarise
from medconv.planning.instance_target import InstanceTarget
from medconv.planning.intensity import Intensity
from medconv.planning.lower_resolution import lower_resolution
from medconv.planning.plan import Plan
from medconv.planning.proposal import NetworkPlan, Proposal, TrainingPlan
from medconv.planning.rules import median_shape
from medconv.planning.sizes import Cost, Sizes, fit_sizes
from medconv.planning.stages import FIRST_CHANNELS, MOST_CHANNELS, StagePlan
from medconv.planning.voxels import CaseVoxels, Watch, read_voxels
from medconv.planning.wishes import Wishes

STEPS_PER_EPOCH, EPOCHS = 250, 1000

OperatorCost = Callable[[Plan, StagePlan], Cost]
"""Bytes of a training step with the patch, channels and classes of a plan."""


def propose_plan(dataset: Dataset, **wishes: Any) -> Plan:
    """The plan that the rules give for a dataset; what is wished for is kept.

    Args:
        dataset: As discovered, with label names.
        wishes: See ``Wishes``.

    Raises:
        DatasetError: No label names, or cases that cannot be used; all of them are listed.
        ConfigError: A given value is out of bounds.

    Cost:
        One reading of every image; of microscopy, which is not cropped, headers only.
    """
    return propose(dataset, Wishes(**wishes), voxels="needed").plan


def propose(
    dataset: Dataset,
    wishes: Wishes | None = None,
    *,
    operator_cost: OperatorCost | None = None,
    voxels: Literal["needed", "all"] = "all",
    watch: Watch[Case] = iter,
    threads: int = 1,
    bad_cases: dict[str, str] | None = None,
) -> Proposal:
    """Everything that a dataset decides, with reasons.

    Args:
        dataset: As discovered, with label names.
        wishes: What the user decided.
        operator_cost: Memory of the chosen network; without one, nnU-Net's count of map voxels stands in for it.
        voxels: ``"needed"``: those that decide about cropping, and the foreground of CT channels; ``"all"``: all
            foreground and class volumes too.
        watch: Sees each case whose voxels were read.
        threads: Cases read at a time.
        bad_cases: Where given, cases whose voxels cannot be used are noted here and left out of the figures,
            instead of refusing the dataset.

    Raises:
        DatasetError: No label names, or cases that cannot be used; all of them are listed.
        ConfigError: A given value is out of bounds, or nothing fits into the memory.
    """
    wishes = wishes or Wishes()
    _require_label_names(dataset)
    facts = {"is_microscopy": dataset.is_microscopy, "has_objects": dataset.instances}
    kinds = [kind_of_channel(name, **facts) for name in dataset.channel_names]
    normalization = tuple(wishes.normalization or [kind.normalization for kind in kinds])
    check_count("normalization", normalization, len(kinds), len(kinds))
    absolute = [channel for channel, kind in enumerate(normalization) if kind == "ct"]
    headers = read_headers(dataset)
    wanted = range(len(normalization)) if voxels == "all" else absolute
    cases, cropping, grid = _survey(dataset, headers, wishes, wanted, watch, threads, bad_cases)
    intensities = _intensities(dataset, wanted, absolute, cases)
    rules = _label_rules(dataset, wishes.instances)
    draft = partial(
        Plan,
        spatial_dims=grid.spatial_dims,
        channel_names=dataset.channel_names,
        **{"label_names": dict(dataset.label_names), **rules, **cropping.plan_values(normalization)},
        normalization=normalization,
        orientation=grid.axes,
        unit=grid.unit,
        intensity=tuple(entry if i in absolute else None for i, entry in enumerate(intensities)),
    )
    chosen = _choose(grid, wishes, draft, operator_cost)
    stages = chosen.sizes.stages
    outputs = max(2, len(stages) - 2) if len(stages) > 2 else 1
    return Proposal(
        draft(spacing_mm=chosen.spacing_mm, patch_size=chosen.sizes.patch_size),
        NetworkPlan(stages.channels, stages.strides, stages.kernel_sizes, outputs),
        TrainingPlan(chosen.sizes.batch_size, STEPS_PER_EPOCH, EPOCHS),
        DatasetIdentity.of(dataset, headers),
        _explain(grid, wishes, chosen, kinds, outputs, rules) | cropping.reasons(normalization),
        summarise(grid, dataset, cases, intensities) | cropping.facts(),
    )


def _survey(
    dataset: Dataset,
    headers: Sequence[Header],
    wishes: Wishes,
    channels: Collection[int],
    watch: Watch[Case],
    threads: int,
    bad_cases: dict[str, str] | None,
) -> tuple[list[CaseVoxels], Cropping, DatasetGrid]:
    """The voxels of the channels that are wanted, what is cropped, and the grids that are left."""
    orientation = wishes.orientation or default_orientation(dataset)
    lay_out = partial(DatasetGrid.of, orientation=orientation, spacing_mm=wishes.spacing_mm)
    lay_out(headers)  # refuses what it must before any voxel is read
    cases: list[CaseVoxels] = []
    if channels:
        cases, problems = read_voxels(dataset, channels, watch=watch, threads=threads)
        if bad_cases is None:
            refuse_cases(dataset, problems)
        else:
            bad_cases.update(problems)
    cropping = find_cropping(dataset, headers, cases, watch, threads)
    return cases, cropping, lay_out(cropping.headers(dataset.cases, headers))


def _intensities(
    dataset: Dataset, wanted: Collection[int], needed: Collection[int], cases: Sequence[CaseVoxels]
) -> list[Intensity | None]:
    """What CT needs must be there; the others are for people, and left out where there is no foreground."""
    found: list[Intensity | None] = [None] * len(dataset.channel_names)
    for channel in wanted:
        try:
            found[channel] = summarise_intensities(dataset, (channel,), cases)[channel]
        except ConfigError:
            if channel in needed:
                raise
    return found


@dataclass(frozen=True)
class _Choice:
    """What fits, at which spacing; and the coarser spacing that would show a patch more, if there is one."""

    sizes: Sizes
    spacing_mm: tuple[float, ...]
    shape: tuple[int, ...]
    lower_mm: tuple[float, ...] | None


def _choose(
    grid: DatasetGrid, wishes: Wishes, draft: Callable[..., Plan], operator_cost: OperatorCost | None
) -> _Choice:
    if wishes.patch_size and len(wishes.patch_size) != grid.spatial_dims:
        raise ConfigError(f"patch_size: expected {grid.spatial_dims} entries, got {len(wishes.patch_size)}")
    fit = partial(_fit, draft=draft, wishes=wishes, operator_cost=operator_cost, num_cases=len(grid.shapes))
    sizes, lower = fit(grid.shape, grid.spacing_mm), None
    if grid.spatial_dims == 3 and not wishes.spacing_mm and not wishes.patch_size:
        lower = lower_resolution(grid.shape, grid.spacing_mm, sizes, _quick(fit, sizes, operator_cost))
    if wishes.resolution == "full":
        return _Choice(sizes, grid.spacing_mm, grid.shape, lower)
    if lower is None:
        raise ConfigError(
            "resolution low: expected 3-D cases of which a patch sees less than a quarter, and neither spacing_mm nor "
            "patch_size; leave it out"
        )
    shape = median_shape(grid.shapes, grid.spacings_mm, lower)
    return _Choice(fit(shape, lower), lower, shape, None)


def _quick(fit: partial[Sizes], full: Sizes, operator_cost: OperatorCost | None) -> Callable[..., Sizes]:
    """The same fit for a search over many spacings: an operator's memory grows with the map voxels."""
    if operator_cost is None:
        return fit

    def scaled(plan: Plan, stages: StagePlan) -> Cost:
        voxels = count_map_voxels(plan.patch_size, stages, plan.num_classes)
        known = count_map_voxels(full.patch_size, full.stages, plan.num_classes)
        return replace(full.cost, per_patch=full.cost.per_patch * voxels / known)

    return partial(fit, operator_cost=scaled)


def _label_rules(dataset: Dataset, target: InstanceTarget | None) -> dict[str, Any]:
    """What the dataset declares beyond names, as arguments of ``Plan``."""
    if dataset.instances:
        return replace(target or InstanceTarget(), name=dataset.label_names[1]).plan_values()
    if target is not None:
        raise ConfigError(
            f"instances: expected label maps that number objects, but {dataset.root} declares labels; leave it out, or "
            "declare them as instances"
        )
    rules: dict[str, Any] = {}
    if dataset.regions:
        rules |= {"regions": dict(dataset.regions), "regions_class_order": dataset.regions_class_order}
    return rules if dataset.ignore_label is None else rules | {"ignore_label": dataset.ignore_label}


def _explain(
    grid: DatasetGrid,
    wishes: Wishes,
    chosen: _Choice,
    kinds: Sequence[ChannelKind],
    outputs: int,
    rules: Mapping[str, Any],
) -> dict[str, str]:
    """The reason of every value."""
    sizes, num_cases = chosen.sizes, len(grid.shapes)
    spacing = why.why_spacing(grid.spacings_mm, grid.spacing_mm, grid.median_spacing_mm, grid.unit)
    if wishes.resolution == "low":
        spacing = why.why_low_spacing(grid.spacing_mm, grid.unit)
    kind_reasons = dict.fromkeys(kind.reason for kind in kinds)
    declared = "as the dataset declares"
    reasons = {
        "plan.spatial_dims": why.why_dims(grid.spatial_dims),
        "plan.channel_names": declared,
        "plan.label_names": declared,
        "plan.spacing_mm": spacing,
        "plan.patch_size": why.why_patch(sizes, chosen.shape, chosen.lower_mm, grid.unit),
        "plan.normalization": "; ".join(kind_reasons),
        "plan.orientation": why.why_orientation(grid.axes),
        "plan.intensity": "percentiles, mean and deviation of all foreground voxels; CT only",
        "network.channels": f"doubled from {FIRST_CHANNELS} on, at most {MOST_CHANNELS[grid.spatial_dims]}",
        "network.strides": why.why_strides(sizes),
        "network.kernel_sizes": "1 along an axis until its spacing is within a factor of 2 of the finest, then 3",
        "network.supervised_outputs": why.why_supervision(outputs),
        "training.batch_size": why.why_batch(sizes, num_cases),
        "training.steps_per_epoch": "nnU-Net's, whatever the size of the dataset",
        "training.epochs": why.why_steps(sizes, STEPS_PER_EPOCH * EPOCHS, num_cases),
    }
    taught = why.why_instances(rules["instances"]) if "instances" in rules else declared
    reasons |= {f"plan.{name}": taught for name, value in rules.items() if value}
    if grid.unit == "px":
        reasons["plan.unit"] = why.why_unit()
    given = {
        "plan.spacing_mm": wishes.spacing_mm,
        "plan.patch_size": wishes.patch_size,
        "plan.normalization": wishes.normalization,
        "training.batch_size": wishes.batch_size,
    }
    return reasons | {place: why.GIVEN for place, value in given.items() if value}


def _require_label_names(dataset: Dataset) -> None:
    if not dataset.label_names:
        raise DatasetError(
            f"{dataset.root}: expected names of the labels, got none; give --label-names '[tumour]' (label_names in a "
            "configuration), or --labels instance where each object has a number of its own, or declare them in a "
            "dataset.json, for a CSV in a JSON file beside it "
            "(same name, {'channel_names': {'0': 'T1'}, 'labels': {'background': 0, 'tumour': 1}})"
        )


def _fit(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    draft: Callable[..., Plan],
    wishes: Wishes,
    operator_cost: OperatorCost | None,
    num_cases: int,
) -> Sizes:
    dims = len(shape)

    def cost_of(patch: tuple[int, ...], stages: StagePlan) -> Cost:
        plan = draft(spacing_mm=tuple(spacing_mm), patch_size=patch)
        if operator_cost is not None:
            return operator_cost(plan, stages)
        return Cost(0, count_map_voxels(patch, stages, plan.num_classes))

    return fit_sizes(
        shape,
        spacing_mm,
        cost_of,
        wishes.memory_gb * 1e9 if operator_cost else PLAIN.capacity(dims, wishes.memory_gb),
        dataset_voxels=prod(shape) * num_cases,
        patch_size=wishes.patch_size,
        batch_size=wishes.batch_size,
        max_share=MAX_SHARE,
    )
