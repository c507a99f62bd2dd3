"""What a dataset says about its labels: names, regions made of several, and the one that says nothing.

Source: ``labels`` and ``regions_class_order`` of nnU-Net's dataset.json, version 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from medconv.errors import ConfigError

IGNORE = "ignore"


@dataclass(frozen=True)
class DeclaredLabels:
    """Labels of a dataset as they stand in its files.

    Args:
        names: Label value to name, 0 the background; without the ignore label.
        regions: The labels of each region, by its name, where the network is to answer for regions that may
            overlap; empty: for the labels.
        regions_class_order: The label that each region writes into a mask, later ones over earlier ones.
        ignore_label: The value of voxels that nobody labelled; ``None``: there are none.
        instances: Whether label maps hold one number an object, 1, 2, 3 … in any order and with gaps, instead of
            labels; all objects are of the one kind that ``names`` has beside the background.

    Raises:
        ConfigError: A region of labels that do not exist or of none, an order that does not fit, an ignore label
            that a region or the background uses, or instances of more than one kind.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    regions_class_order: tuple[int, ...] = ()
    ignore_label: int | None = None
    instances: bool = False

    def __post_init__(self) -> None:
        check_members(self.names, self.regions)
        self._check_instances()
        labels, order = set(self.names) - {0}, self.regions_class_order
        if len(order) != len(self.regions) or not set(order) <= labels:
            raise ConfigError(
                f"regions_class_order: expected one label for each of the {len(self.regions)} regions "
                f"({', '.join(self.regions) or 'none'}), got {list(order)}"
            )
        if self.ignore_label is not None and (self.ignore_label < 1 or self.ignore_label in self.names):
            raise ConfigError(
                f"ignore_label: expected a value above 0 that is none of the labels {dict(self.names)}, "
                f"got {self.ignore_label}"
            )

    @property
    def allowed(self) -> frozenset[int] | None:
        """Every value that may occur in a label map; ``None``: any, nothing is declared, or objects are counted."""
        if not self.names or self.instances:
            return None
        return frozenset(self.names) | ({self.ignore_label} if self.ignore_label is not None else frozenset())

    def _check_instances(self) -> None:
        if not self.instances:
            return
        kinds = [name for label, name in self.names.items() if label > 0]
        if len(kinds) != 1 or self.regions or self.ignore_label is not None:
            beside = [*self.regions, *(["an ignore label"] if self.ignore_label is not None else [])]
            raise ConfigError(
                f"instances: expected objects of one kind, such as {{background: 0, nucleus: 1}}, and neither regions "
                f"nor an ignore label; got {', '.join([*kinds, *beside]) or 'no names'}"
            )


def check_members(names: Mapping[int, str], regions: Mapping[str, Sequence[int]]) -> None:
    """Refuse regions that are not made of labels.

    Raises:
        ConfigError: With the labels that there are.
    """
    labels = sorted(set(names) - {0})
    for name, members in regions.items():
        if not members or not set(members) <= set(labels):
            raise ConfigError(
                f"regions: expected {name!r} to be a list of labels among {labels}, got {list(members)}"
            )


def derive_class_order(regions: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """The label that each region writes: the one that no later region has, for regions in each other, largest first.

    Raises:
        ConfigError: There is none or more than one.

    Example:
        >>> derive_class_order({"whole tumour": (1, 2, 3), "core": (2, 3), "enhancing": (3,)})
        (1, 2, 3)
    """
    order, left = [], list(regions.values())
    for name, members in regions.items():
        left = left[1:]
        own = sorted(set(members) - {label for later in left for label in later})
        if len(own) != 1:
            raise ConfigError(
                f"regions: {name!r} has {'no label' if not own else f'the labels {own}'} that later regions lack, so "
                "it is not clear which one it writes; set regions_class_order, one label a region"
            )
        order.append(own[0])
    return tuple(order)
