"""From a dataset to a plan by the rules."""

from __future__ import annotations

from collections.abc import Sequence

from medconv.errors import DatasetError
from medconv.io.cases import Dataset
from medconv.io.geometry import NATIVE
from medconv.planning.fingerprint import Fingerprint, read_headers, read_intensities
from medconv.planning.plan import Plan
from medconv.planning.rules import default_patch, median_shape, median_spacing, normalization_for
from medconv.types import IntOrInts


def propose_plan(
    dataset: Dataset,
    *,
    orientation: str = "RAS",
    spacing_mm: Sequence[float] | None = None,
    patch_size: Sequence[int] | None = None,
    normalization: Sequence[str] | None = None,
    poolings: IntOrInts = 3,
    max_voxels: int = 128**3,
) -> Plan:
    """The plan that the rules give for a dataset; what is given is kept.

    Args:
        dataset: As discovered, with label names.
        orientation: Directions of the axes in 3-D. Datasets of single slices keep their stored axes.
        spacing_mm: Instead of the median spacing.
        patch_size: Instead of the rule for patches.
        normalization: One entry a channel, instead of the choice by channel name.
        poolings: Halvings of the network that the patch must allow.
        max_voxels: Largest number of voxels of a patch.

    Raises:
        DatasetError: No label names, or cases that cannot be used; all of them are listed.
        ConfigError: A given value is out of bounds.
    """
    if not dataset.label_names:
        raise DatasetError(
            f"{dataset.root}: expected names of the labels, got none; declare them in a JSON file beside "
            f"the CSV "
            f"(same name, {{'channel_names': {{'0': 'T1'}}, 'labels': {{'background': 0, 'tumour': 1}}}})"
        )
    kinds = tuple(normalization or [normalization_for(name) for name in dataset.channel_names])
    absolute = [channel for channel, kind in enumerate(kinds) if kind == "ct"]
    headers = read_headers(dataset)
    # single slices, all of them, make a 2-D plan on the stored axes
    dims = 2 if all(header.shape[2] == 1 for header in headers) else 3
    axes = NATIVE if dims == 2 else orientation
    found = Fingerprint.of_headers(headers, axes)
    shapes, spacings = [s[:dims] for s in found.shapes], [s[:dims] for s in found.spacings_mm]
    target = tuple(spacing_mm or median_spacing(spacings, shapes))
    shape = median_shape(shapes, spacings, target)
    return Plan(
        spatial_dims=dims,
        channel_names=dataset.channel_names,
        label_names=dict(dataset.label_names),
        spacing_mm=target,
        patch_size=tuple(patch_size or default_patch(shape, target, poolings, max_voxels)),
        normalization=kinds,
        orientation=axes,
        intensity=read_intensities(dataset, absolute),
        regions=dict(dataset.regions),
        regions_class_order=dataset.regions_class_order,
        ignore_label=dataset.ignore_label,
    )
