"""Overlap of two label maps: one table of counts, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import ShapeError
from medconv.metrics.grid import LabelMap, along_memory, as_label_maps, foreground_box
from medconv.types import FloatArray

CountArray = npt.NDArray[np.int64]

_CHUNK_VOXELS = 1 << 16
"""Voxels compared at a time, so that the work stays in the cache."""


def contingency(pred: Any, ref: Any, num_classes: int) -> CountArray:
    """How many voxels carry each pair of labels: ``table[r, p]`` with reference ``r`` and prediction ``p``.

    Args:
        pred: Integer labels ``(*S)``, 0 to ``num_classes - 1``.
        ref: The same on the same grid.
        num_classes: ``K``, background included.

    Shape:
        - Output ``(K, K)`` int64; its sum is the number of voxels.

    Raises:
        ShapeError: The maps differ in shape, are not integer, or hold a label outside the range.

    Cost:
        One pass over the box that holds all foreground, whatever the number of classes.

    Example:
        >>> contingency(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]), num_classes=3)
        array([[1, 0, 0],
               [0, 1, 0],
               [0, 1, 1]])
    """
    pred, ref = as_label_maps(pred, ref)
    runs = label_runs(pred, ref)
    for name, labels in (("prediction", runs.pred), ("reference", runs.ref)):
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ShapeError(
                f"expected labels 0 … {num_classes - 1}, got {labels.min()} … {labels.max()} in the {name}"
            )
    return runs.table(num_classes)


@dataclass(frozen=True, eq=False)
class LabelRuns:
    """Two label maps as runs of voxels, along the memory, in which neither changes.

    Args:
        pred: Label of each run in the prediction.
        ref: In the reference.
        voxels: Length of each run.
    """

    pred: LabelMap
    ref: LabelMap
    voxels: CountArray

    def table(self, num_classes: int) -> CountArray:
        """Counts ``(K, K)`` of each pair, reference first; every label must lie in the range."""
        pair = self.ref.astype(np.int64) * num_classes + self.pred
        # a sum of whole numbers in float64 is exact up to 2**53 voxels
        counts = np.bincount(pair, self.voxels, minlength=num_classes**2)
        return counts.astype(np.int64).reshape(num_classes, num_classes)


def label_runs(pred: LabelMap, ref: LabelMap, box: tuple[slice, ...] | None = None) -> LabelRuns:
    """The runs of two maps of one shape; everything outside the box of all foreground is one run.

    Args:
        pred: Integer labels ``(*S)``.
        ref: The same on the same grid.
        box: From ``foreground_box`` of both, where it is known.

    Cost:
        Two comparisons a voxel and a few operations a run, and there are about as many runs as boundary voxels
        that face the last axis.

    Example:
        >>> runs = label_runs(np.array([1, 1, 1, 2]), np.array([1, 2, 2, 2]))
        >>> runs.pred.tolist(), runs.ref.tolist(), runs.voxels.tolist()
        ([1, 1, 2], [1, 2, 2], [1, 2, 1])
    """
    size = pred.size
    if box is None:
        pred, ref, _ = along_memory(pred, ref)
    pred, ref = _narrow(pred), _narrow(ref)
    box = foreground_box(pred, ref) if box is None else box
    pred, ref = pred[box], ref[box]
    outside = np.array([size - pred.size])
    zeros = outside * 0
    parts = [(zeros.astype(pred.dtype), zeros.astype(ref.dtype), outside)] if outside[0] else []
    slices = max(1, _CHUNK_VOXELS * max(1, len(pred)) // max(1, pred.size))
    for low in range(0, len(pred), slices):
        p, r = (m[low : low + slices].reshape(-1) for m in (pred, ref))
        changes = p[1:] != p[:-1]
        np.logical_or(changes, r[1:] != r[:-1], out=changes)
        starts = np.empty(np.count_nonzero(changes) + 1, np.intp)
        starts[0], starts[1:] = 0, np.flatnonzero(changes)
        starts[1:] += 1
        lengths = np.empty_like(starts)
        lengths[-1] = p.size - starts[-1]
        np.subtract(starts[1:], starts[:-1], out=lengths[:-1])
        parts.append((p[starts], r[starts], lengths))
    return LabelRuns(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _narrow(labels: LabelMap) -> LabelMap:
    """The same in the smallest type that holds it; one byte a voxel is compared faster than eight."""
    if labels.dtype.itemsize == 1 or not labels.size:
        return labels
    # looked at without a sign, a negative label is larger than any other: one pass instead of two
    top = labels.view(labels.dtype.str.replace("i", "u")).max()
    if labels.dtype.kind == "i" and top > np.iinfo(labels.dtype).max:
        return labels
    return labels.astype(np.min_scalar_type(int(top)), copy=False)


def dice_from(table: CountArray) -> FloatArray:
    """Dice of each class: ``2 TP / (2 TP + FP + FN)``; nan where a class is in neither map.

    Args:
        table: From ``contingency``.

    Source: Dice, Ecology 1945.
    """
    return _ratio(2 * table.diagonal(), table.sum(0) + table.sum(1))


def iou_from(table: CountArray) -> FloatArray:
    """Intersection over union of each class: ``TP / (TP + FP + FN)``; nan where a class is in neither map."""
    overlap = table.diagonal()
    return _ratio(overlap, table.sum(0) + table.sum(1) - overlap)


def sensitivity_from(table: CountArray) -> FloatArray:
    """Sensitivity (recall) of each class: ``TP / (TP + FN)``; nan where the reference lacks the class.

    Example:
        >>> sensitivity_from(np.array([[5, 1], [3, 1]])).round(3)
        array([0.833, 0.25 ])
    """
    return _ratio(table.diagonal(), table.sum(1))


def precision_from(table: CountArray) -> FloatArray:
    """Precision of each class: ``TP / (TP + FP)``; nan where the prediction lacks the class.

    Example:
        >>> precision_from(np.array([[5, 1], [3, 1]]))
        array([0.625, 0.5  ])
    """
    return _ratio(table.diagonal(), table.sum(0))


def dice(pred: Any, ref: Any, num_classes: int) -> FloatArray:
    """Dice of each class, background first; nan where a class is in neither map. See ``contingency``.

    Shape:
        - ``pred`` and ``ref`` ``(*S)``; output ``(K,)``.

    Example:
        >>> dice(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), num_classes=3).round(3)
        array([0.8  , 0.667,   nan])
    """
    return dice_from(contingency(pred, ref, num_classes))


def iou(pred: Any, ref: Any, num_classes: int) -> FloatArray:
    """Intersection over union of each class, background first; nan where a class is in neither map.

    Example:
        >>> iou(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0]), num_classes=2).round(3)
        array([0.667, 0.5  ])
    """
    return iou_from(contingency(pred, ref, num_classes))


def _ratio(part: CountArray, whole: CountArray) -> FloatArray:
    result: FloatArray = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return result
