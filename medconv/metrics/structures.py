"""What is measured in every case: classes, and regions made of several classes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from medconv.errors import ConfigError
from medconv.metrics.case import (
    check_ignore_label,
    foreground_names,
    label_tolerances,
    measure_case,
)
from medconv.metrics.convention import SurfaceConvention
from medconv.metrics.grid import LabelMap, as_label_maps, as_spacing_mm
from medconv.metrics.rows import CaseRow

_IGNORED = 2
"""The ignore label of a region's own map, in which 1 is inside."""


@dataclass(frozen=True)
class Structures:
    """The classes and regions of a table. A region is the union of labels, such as the whole tumour.

    Regions are numbered -1, -2 and so on, in the order in which they are declared. Their surfaces are those
    of the union: an error on the border between two of its labels is none.

    Args:
        label_names: Name of each label; 0 is background and is not measured.
        regions: Labels of each region, by its name.
        tolerances_mm: Of the normalised surface Dice: one number, or one a number of a class or region; ``None``: see
            ``default_tolerance_mm``.
        only_regions: Leave the classes out.
        convention: What counts as surface; see ``SurfaceConvention``.
        ignore_label: The value of voxels in references that nobody labelled; see ``measure_case``.

    Raises:
        ConfigError: No label, a region of unknown or no labels, two structures of one name, a tolerance that
            does not fit, or an ignore label that is the background or has a name.

    Example:
        >>> brats = Structures({1: "necrosis", 2: "oedema", 3: "enhancing"}, {"tumour core": (1, 3)})
        >>> brats.names
        {1: 'necrosis', 2: 'oedema', 3: 'enhancing', -1: 'tumour core'}
        >>> ref, pred = np.array([[0, 1, 3, 2]]), np.array([[0, 3, 1, 2]])
        >>> [(row.name, row.dice) for row in brats.measure("a", pred, ref, 1)]
        [('necrosis', 0.0), ('oedema', 1.0), ('enhancing', 0.0), ('tumour core', 1.0)]
    """

    label_names: Mapping[int, str]
    regions: Mapping[str, Collection[int]] = field(default_factory=dict)
    tolerances_mm: float | Mapping[int, float] | None = None
    only_regions: bool = False
    convention: SurfaceConvention = field(default_factory=SurfaceConvention)
    ignore_label: int | None = None

    def __post_init__(self) -> None:
        names = foreground_names(self.label_names)
        check_ignore_label(self.ignore_label, names)
        for region, labels in self.regions.items():
            if not labels or not set(labels) <= set(names):
                raise ConfigError(f"region {region!r}: expected labels out of {names}, got {list(labels)}")
        if self.only_regions and not self.regions:
            raise ConfigError("expected regions, got none, and only regions are to be measured")
        every = [*names.values(), *self.regions]
        if len(set(every)) < len(every):
            raise ConfigError(f"expected a different name for every structure, got {', '.join(every)}")
        label_tolerances(self.tolerances_mm, {**names, **self._region_names})

    @property
    def _region_names(self) -> dict[int, str]:
        return {-number: name for number, name in enumerate(self.regions, start=1)}

    @property
    def names(self) -> dict[int, str]:
        """Number to name of everything that is measured: classes, then regions."""
        classes = {} if self.only_regions else foreground_names(self.label_names)
        return {**classes, **self._region_names}

    def measure(
        self, case_id: str, pred: Any, ref: Any, spacing_mm: Any, *, surfaces: bool = True
    ) -> list[CaseRow]:
        """One row a structure; see ``measure_case``."""
        pred, ref = as_label_maps(pred, ref)
        every = {**foreground_names(self.label_names), **self._region_names}
        spacing = as_spacing_mm(spacing_mm, pred.ndim)
        tolerance_mm = label_tolerances(self.tolerances_mm, every, spacing)
        by_label = {k: v for k, v in tolerance_mm.items() if k > 0 and v == v}
        # the classes are measured in any case: it is there that labels without a name are found
        with_surfaces = surfaces and not self.only_regions
        rows = measure_case(
            case_id,
            pred,
            ref,
            spacing_mm,
            self.label_names,
            by_label,
            self.convention,
            surfaces=with_surfaces,
            ignore_label=self.ignore_label,
        )
        rows = [] if self.only_regions else rows
        for number, name in self._region_names.items():
            inside, truth = (_union(side, self.regions[name]) for side in (pred, ref))
            if self.ignore_label is not None:
                truth[ref == self.ignore_label] = _IGNORED
            own = {1: tolerance_mm[number]} if tolerance_mm[number] == tolerance_mm[number] else {}
            ignored = None if self.ignore_label is None else _IGNORED
            (row,) = measure_case(
                case_id,
                inside,
                truth,
                spacing_mm,
                {1: name},
                own,
                self.convention,
                surfaces=surfaces,
                ignore_label=ignored,
            )
            rows.append(replace(row, label=number))
        return rows


def _union(labels: LabelMap, members: Collection[int]) -> LabelMap:
    return np.isin(labels, list(members)).view(np.uint8)
