"""Settings of a run that say about labels what the dataset does not, or says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from medconv.errors import ConfigError
from medconv.io import Dataset
from medconv.io.declared_labels import check_members, derive_class_order


def redeclare(
    dataset: Dataset,
    regions: Mapping[str, Sequence[int]] | None,
    regions_class_order: Sequence[int] | None,
    ignore_label: int | None,
) -> Dataset:
    """The dataset with the regions and the ignore label of a configuration; ``None`` leaves what it declares.

    Raises:
        ConfigError: They do not fit its labels, or an order is given without regions.
    """
    if regions_class_order is not None and not (regions or dataset.regions):
        raise ConfigError("regions_class_order has no effect without regions; give regions too")
    if ignore_label is not None:
        names = {value: name for value, name in dataset.label_names.items() if value != ignore_label}
        dataset = replace(dataset, label_names=names, ignore_label=ignore_label)
    if regions is not None:
        check_members(dataset.label_names, regions)
        order = derive_class_order(regions) if regions_class_order is None else tuple(regions_class_order)
        given = {name: tuple(members) for name, members in regions.items()}
        dataset = replace(dataset, regions=given, regions_class_order=order)
    elif regions_class_order is not None:
        dataset = replace(dataset, regions_class_order=tuple(regions_class_order))
    dataset.labels  # noqa: B018 - checked when built
    return dataset
