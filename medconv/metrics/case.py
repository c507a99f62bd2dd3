"""Everything that is measured of one case: a pure function from two label maps to rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, nan, prod
from typing import Any

import numpy as np

from medconv.errors import ConfigError, DatasetError
from medconv.metrics.grid import (
    LabelMap,
    along_memory,
    as_label_maps,
    as_spacing_mm,
    diagonal_mm,
    foreground_box,
)
from medconv.metrics.length_unit import default_tolerance_mm
from medconv.metrics.overlap import (
    CountArray,
    LabelRuns,
    dice_from,
    iou_from,
    label_runs,
    precision_from,
    sensitivity_from,
)
from medconv.metrics.rows import CaseRow
from medconv.metrics.surface import SurfaceConvention, SurfaceDistances, distances_in_box

_MM3_PER_ML = 1000.0
_DEFAULT = SurfaceConvention()
_NOWHERE = SurfaceDistances(np.empty(0), np.empty(0))
_ALONE = SurfaceDistances(np.full(1, inf), np.empty(0))
_OVERLAP = {
    "dice": dice_from,
    "iou": iou_from,
    "sensitivity": sensitivity_from,
    "precision": precision_from,
}


def measure_case(
    case_id: str,
    pred: Any,
    ref: Any,
    spacing_mm: Any,
    label_names: Mapping[int, str],
    tolerances_mm: float | Mapping[int, float] | None = None,
    convention: SurfaceConvention = _DEFAULT,
    *,
    surfaces: bool = True,
    ignore_label: int | None = None,
) -> list[CaseRow]:
    """Measure every structure of one case.

    Cases can be measured anywhere; ``SegmentationTable.merge`` brings the rows together.

    Args:
        case_id: Its name.
        pred: Integer labels ``(*S)`` on the reference's grid.
        ref: Integer labels ``(*S)``.
        spacing_mm: Voxel edge lengths of that grid, in any numeric form.
        label_names: Name of each label; 0 is background and is not measured.
        tolerances_mm: Of NSD: one, or one a label, else ``nsd`` is nan; ``None``: see ``default_tolerance_mm``.
        convention: What counts as surface, and how ``hd95_mm`` is made of both directions.
        surfaces: Whether distances between surfaces are measured; without, they and ``nsd`` are nan.
        ignore_label: The value of voxels in ``ref`` that nobody labelled. They are part of no count, and their border
            with a structure is no surface, as nobody knows whether the structure ends there.

    Returns:
        One row a label, in the order of the numbers.

    Raises:
        ShapeError: The maps differ in shape or are not integer.
        GeometryError: The spacing does not fit.
        DatasetError: A map holds a label without a name.
        ConfigError: No label besides background, an ignore label with a name, or a tolerance that does not fit.

    Cost: one pass for the counts and one for all surfaces, whatever the number of labels.

    Example:
        >>> ref = np.pad(np.ones((3, 4, 4), np.uint8), 2)
        >>> (row,) = measure_case("a", np.roll(ref, 1, axis=0), ref, (2, 1, 1), {1: "organ"}, tolerances_mm=1)
        >>> row.iou, round(row.sensitivity, 3), row.hd_mm, round(row.nsd, 3), row.volume_difference_ml
        (0.5, 0.667, 2.0, 0.636, 0.0)
    """
    names = foreground_names(label_names)
    pred, ref = as_label_maps(pred, ref)
    spacing = as_spacing_mm(spacing_mm, pred.ndim)
    tolerance_mm = label_tolerances(tolerances_mm, names, spacing)
    inside, ignored = _inside(case_id, pred, ref, spacing, names, ignore_label)
    table = _count_pairs(case_id, inside, names)
    distances = inside.distances(convention) if surfaces else None
    figures = {
        label: overlap
        | _volumes(table, label, prod(spacing) / _MM3_PER_ML if pred.ndim == 3 else nan)
        | _distances(_known(distances, label, table), tolerance_mm[label], convention)
        | _image(pred.shape, spacing, convention, ignored)
        for label, overlap in _overlap(table, names).items()
    }
    return [CaseRow(case_id=case_id, label=n, name=name, **figures[n]) for n, name in names.items()]


def check_ignore_label(ignore_label: int | None, names: Mapping[int, str]) -> None:
    """Refuse to ignore what is measured.

    Raises:
        ConfigError: The ignore label is the background or has a name.
    """
    if ignore_label is not None and (ignore_label <= 0 or ignore_label in names):
        raise ConfigError(
            f"expected an ignore label above 0 that is none of {dict(names)}, got {ignore_label}"
        )


def foreground_names(label_names: Mapping[int, str]) -> dict[int, str]:
    """The names of all labels but the background, by number.

    Raises:
        ConfigError: There is none.
    """
    names = {int(k): str(v) for k, v in sorted(label_names.items()) if int(k) != 0}
    if not names:
        raise ConfigError(
            f"expected at least one label besides background (0) in label_names, got {dict(label_names)}"
        )
    return names


def label_tolerances(
    tolerances_mm: float | Mapping[int, float] | None,
    names: Mapping[int, str],
    spacing_mm: Sequence[float] = (1.0,),
) -> dict[int, float]:
    """The tolerance of each label; nan where it has none. ``None`` asks ``default_tolerance_mm``.

    Raises:
        ConfigError: One is negative, not finite, or of a label that is not in ``names``.

    Example:
        >>> label_tolerances({2: 0.5}, {1: "head", 2: "tail"})
        {1: nan, 2: 0.5}
    """
    if tolerances_mm is None:
        tolerances_mm = default_tolerance_mm(spacing_mm)
    if not isinstance(tolerances_mm, Mapping):
        tolerances_mm = dict.fromkeys(names, tolerances_mm)
    if unknown := sorted(set(tolerances_mm) - set(names)):
        raise ConfigError(f"tolerances_mm names labels {unknown}, which are not among {dict(names)}")
    given = {label: float(t) for label, t in tolerances_mm.items()}
    if wrong := {label: t for label, t in given.items() if not 0 <= t < inf}:
        raise ConfigError(f"expected tolerances_mm of 0 mm or more, got {wrong}")
    return {label: given.get(label, nan) for label in names}


def _without_ignored(
    case_id: str, pred: LabelMap, ref: LabelMap, ignore_label: int, names: Mapping[int, str]
) -> tuple[LabelMap, LabelMap, int]:
    """Both maps with the value after the last label where the truth is not known, and how many voxels that are."""
    unknown = max(names) + 1
    is_known = ref != ignore_label
    ignored = int(is_known.size - np.count_nonzero(is_known))
    if not ignored:
        return pred, ref, 0
    for side, labels in (("prediction", pred), ("reference", ref)):
        if (is_known & (labels == unknown)).any():  # it would pass for the value that means unknown
            raise _unnamed(case_id, side, {unknown}, {0, *names})
    maps = []
    for labels in (pred, ref):
        kind = np.result_type(labels.dtype, np.min_scalar_type(unknown))
        maps.append(np.where(is_known, labels, np.array(unknown, kind)))
    return maps[0], maps[1], ignored


def _image(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], convention: SurfaceConvention, ignored: int
) -> dict[str, Any]:
    """What all structures of an image share."""
    return {
        "diagonal_mm": diagonal_mm(shape, spacing_mm),
        "spacing_mm": spacing_mm,
        "image_voxels": prod(shape) - ignored,
        "ignored_voxels": ignored,
        "convention": convention.short,
    }


def _overlap(table: CountArray, labels: Iterable[int]) -> dict[int, dict[str, Any]]:
    columns = {name: measure(table).tolist() for name, measure in _OVERLAP.items()}
    return {label: {name: values[label] for name, values in columns.items()} for label in labels}


def _volumes(table: CountArray, label: int, voxel_ml: float) -> dict[str, Any]:
    ref_voxels, pred_voxels = int(table[label].sum()), int(table[:, label].sum())
    return {
        "ref_empty": not ref_voxels,
        "pred_empty": not pred_voxels,
        "ref_voxels": ref_voxels,
        "pred_voxels": pred_voxels,
        "tp_voxels": int(table[label, label]),
        "ref_volume_ml": ref_voxels * voxel_ml,
        "pred_volume_ml": pred_voxels * voxel_ml,
        "volume_difference_ml": (pred_voxels - ref_voxels) * voxel_ml,
    }


def _known(
    distances: Mapping[int, SurfaceDistances] | None, label: int, table: CountArray
) -> SurfaceDistances:
    """Those of a label; one that is missed or invented is infinitely far, though the edge may cut all its surface."""
    if distances is None:
        return _NOWHERE
    found = distances.get(label, _NOWHERE)
    has_surface = len(found.pred_to_ref_mm) or len(found.ref_to_pred_mm)
    is_alone = bool(table[label].any()) != bool(table[:, label].any())
    return _ALONE if is_alone and not has_surface else found


def _distances(
    distances: SurfaceDistances, tolerance_mm: float, convention: SurfaceConvention
) -> dict[str, Any]:
    return {
        "hd_mm": distances.hausdorff_mm(),
        "hd95_mm": distances.hausdorff_mm(95, convention.directions),
        "assd_mm": distances.assd_mm(),
        "masd_mm": distances.masd_mm(),
        "nsd": distances.within(tolerance_mm) if isfinite(tolerance_mm) else nan,
        "nsd_tolerance_mm": tolerance_mm,
    }


class _Inside:
    """Both maps of a case as they lie in memory, and the box of all foreground, which is looked for once."""

    def __init__(
        self, pred: LabelMap, ref: LabelMap, spacing_mm: tuple[float, ...], unknown: int | None
    ) -> None:
        self._maps, self._spacing_mm, self._box = (pred, ref), spacing_mm, foreground_box(pred, ref)
        self.unknown = unknown

    def runs(self) -> LabelRuns:
        return label_runs(*self._maps, self._box)

    def distances(self, convention: SurfaceConvention) -> dict[int, SurfaceDistances]:
        return distances_in_box(*self._maps, self._box, self._spacing_mm, convention, self.unknown)


def _inside(
    case_id: str,
    pred: LabelMap,
    ref: LabelMap,
    spacing_mm: tuple[float, ...],
    names: Mapping[int, str],
    ignore_label: int | None,
) -> tuple[_Inside, int]:
    """Both maps ready to be measured, and how many voxels are ignored."""
    check_ignore_label(ignore_label, names)
    unknown, ignored = None, 0
    if ignore_label is not None:
        pred, ref, ignored = _without_ignored(case_id, pred, ref, ignore_label, names)
        unknown = max(names) + 1 if ignored else None
    return _Inside(*along_memory(pred, ref, spacing_mm), unknown), ignored


def _count_pairs(case_id: str, inside: _Inside, names: Mapping[int, str]) -> CountArray:
    """The contingency table, after a check that every label has a name."""
    allowed = {0, *names}
    runs = inside.runs()
    for side, labels in (("prediction", runs.pred), ("reference", runs.ref)):
        if found := set(np.unique(labels).tolist()) - allowed - {inside.unknown}:
            raise _unnamed(case_id, side, found, allowed)
    if inside.unknown is None:
        return runs.table(max(names) + 1)
    # where one map is unknown both are: what is left of the table counts known voxels only
    return runs.table(inside.unknown + 1)[:-1, :-1]


def _unnamed(case_id: str, side: str, found: set[int], allowed: set[int]) -> DatasetError:
    return DatasetError(
        f"case {case_id}: expected labels {sorted(allowed)} in the {side}, got also {sorted(found)}; "
        "name them in label_names or map them to others"
    )
