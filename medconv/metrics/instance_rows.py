"""What was counted of the single objects of one image, and every score that follows from the counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medconv.errors import ConfigError
from medconv.metrics.grid import as_label_maps
from medconv.metrics.instance import instance_overlap
from medconv.metrics.row_text import RowText
from medconv.metrics.scores import INSTANCE_SCORES, THRESHOLDS
from medconv.types import FloatArray

_COUNTS = (
    "ref_objects",
    "pred_objects",
    "matched",
    "matched_iou",
    "aji_shared_voxels",
    "aji_union_voxels",
    "splits",
    "merges",
    "ref_voxels",
    "pred_voxels",
    "both_voxels",
)


@dataclass(frozen=True)
class InstanceRow:
    """The objects of one image: counts only, so that images add up and every score can be made anew.

    Args:
        case_id: Name of the image.
        ref_objects: Objects in the reference.
        pred_objects: Objects in the prediction.
        tp: Pairs found at each of ``THRESHOLDS``, which suffice themselves; each object in one pair at most.
        matched: Pairs with an intersection over union above one half, of which the panoptic quality is made.
        matched_iou: Sum of their intersections over unions.
        aji_shared_voxels: Numerator of the aggregated Jaccard index.
        aji_union_voxels: Its denominator.
        splits: Predictions too many; see ``InstanceOverlap.count_splits``.
        merges: Reference objects swallowed; see ``InstanceOverlap.count_merges``.
        ref_voxels: Voxels of any object in the reference.
        pred_voxels: In the prediction.
        both_voxels: On both sides.
        image_voxels: In the image, ignored ones left out.
        ignored_voxels: That the reference says nothing about; they are part of no count.
    """

    case_id: str
    ref_objects: int
    pred_objects: int
    tp: tuple[int, ...]
    matched: int
    matched_iou: float
    aji_shared_voxels: int
    aji_union_voxels: int
    splits: int
    merges: int
    ref_voxels: int
    pred_voxels: int
    both_voxels: int
    image_voxels: int
    ignored_voxels: int = 0

    @property
    def key(self) -> tuple[str]:
        """What identifies a row: the image."""
        return (self.case_id,)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Every score of ``INSTANCE_SCORES``; nan where it is not defined."""
        return {name: float(value[0]) for name, value in instance_figures(instance_counts([self])).items()}


def _score(name: str) -> Any:
    return lambda row: row.scores[name]


INSTANCE_ROWS = RowText(InstanceRow, {name: _score(name) for name in INSTANCE_SCORES})
"""Rows of images in a CSV file, the scores beside the counts."""


def measure_instances(case_id: str, pred: Any, ref: Any, ignore_label: int | None = None) -> InstanceRow:
    """Count what was found of the objects of one image.

    Numbers of objects need not be consecutive, and may be of any size.

    Args:
        case_id: Its name.
        pred: Object numbers ``(*S)``, 0 is background.
        ref: Likewise, on the same grid.
        ignore_label: The number of voxels in ``ref`` that nobody labelled; they are taken out of both maps, so an
            object that lies in them is neither found nor invented.

    Raises:
        ShapeError: The maps differ in shape, are not integer, or hold a negative number.
        ConfigError: The background is to be ignored.

    Cost:
        One pass over the voxels and 12 matchings: some ms for 400 nuclei in 1024 x 1024.

    Example:
        >>> ref = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [2, 2, 0, 255]])
        >>> pred = np.array([[7, 7, 7, 0], [0, 0, 0, 0], [0, 9, 0, 4]])
        >>> row = measure_instances("a", pred, ref, ignore_label=255)
        >>> row.ref_objects, row.pred_objects, row.tp[:7]
        (2, 2, (2, 1, 1, 1, 1, 1, 0))
        >>> row.scores["ap_50"], row.scores["f1_75"], row.scores["sq"], row.ignored_voxels
        (1.0, 0.5, 0.75, 1)
    """
    pred, ref = as_label_maps(pred, ref)
    ignored = 0
    if ignore_label is not None:
        if ignore_label == 0:
            raise ConfigError("expected an ignore label other than 0, which is the background")
        known = ref != ignore_label
        ignored = int(known.size - np.count_nonzero(known))
        pred, ref = np.where(known, pred, 0), np.where(known, ref, 0)
    overlap = instance_overlap(pred, ref)
    strict = overlap.scores(0.5, inclusive=False)
    shared, union = overlap.aji_parts()
    return InstanceRow(
        case_id=case_id,
        ref_objects=len(overlap.ref_sizes),
        pred_objects=len(overlap.pred_sizes),
        tp=tuple(len(overlap.match(t)) for t in THRESHOLDS),
        matched=strict.tp,
        matched_iou=strict.sum_iou,
        aji_shared_voxels=shared,
        aji_union_voxels=union,
        splits=overlap.count_splits(),
        merges=overlap.count_merges(),
        ref_voxels=int(overlap.ref_sizes.sum()),
        pred_voxels=int(overlap.pred_sizes.sum()),
        both_voxels=int(overlap.shared.sum()),
        image_voxels=ref.size - ignored,
        ignored_voxels=ignored,
    )


def instance_counts(rows: Sequence[InstanceRow]) -> dict[str, FloatArray]:
    """The counts of many images as columns ``(images,)``, those at thresholds as ``(images, thresholds)``."""
    counts = {name: np.array([getattr(row, name) for row in rows], np.float64) for name in _COUNTS}
    counts["tp"] = np.array([row.tp for row in rows], np.float64).reshape(len(rows), len(THRESHOLDS))
    return counts


def instance_figures(counts: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Every score of ``INSTANCE_SCORES`` from counts: of each image, or of sums over many images.

    Args:
        counts: As ``instance_counts`` gives them, or sums of them over the first axis.

    Returns:
        Name to ``(images,)``; nan where there is nothing to divide by.
    """
    ref, pred, tp = counts["ref_objects"], counts["pred_objects"], counts["tp"]
    objects = (ref + pred)[..., None]
    ap, f1 = _ratio(tp, objects - tp), _ratio(2 * tp, objects)
    figures = {"ap": ap.mean(axis=-1)}
    for name, values in (("ap", ap), ("f1", f1)):
        figures |= {f"{name}_{100 * t:.0f}": values[..., i] for i, t in enumerate(THRESHOLDS)}
    figures |= {
        "pq": _ratio(2 * counts["matched_iou"], ref + pred),
        "sq": _ratio(counts["matched_iou"], counts["matched"]),
        "rq": _ratio(2 * counts["matched"], ref + pred),
        "aji": _ratio(counts["aji_shared_voxels"], counts["aji_union_voxels"]),
        "foreground_dice": _ratio(2 * counts["both_voxels"], counts["ref_voxels"] + counts["pred_voxels"]),
        "splits": counts["splits"],
        "merges": counts["merges"],
    }
    return {name: figures[name] for name in INSTANCE_SCORES}


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    with np.errstate(invalid="ignore", divide="ignore"):
        result: FloatArray = np.where(whole > 0, part / whole, np.nan)
    return result
