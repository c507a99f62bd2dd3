"""What every metric asks of its input: two arrays on one grid, and the size of its voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import GeometryError, ShapeError

LabelMap = npt.NDArray[Any]

_FEW_VOXELS = 1 << 18
"""So many voxels are looked at as a whole sooner than slice by slice (measured)."""


def as_spacing_mm(spacing_mm: Any, ndim: int) -> tuple[float, ...]:
    """Voxel edge lengths as plain floats, from any numeric form: header zooms, tensor, list, or one number.

    Raises:
        GeometryError: Another number of entries than axes, or one that is not positive and finite.

    Example:
        >>> as_spacing_mm(np.float32([0.5, 2]), 2), as_spacing_mm(1, 3)
        ((0.5, 2.0), (1.0, 1.0, 1.0))
    """
    values = np.asarray(spacing_mm, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(ndim, values)
    if values.shape != (ndim,) or not np.all(np.isfinite(values)) or not np.all(values > 0):
        raise GeometryError(
            f"expected spacing_mm with {ndim} positive numbers (one per axis, in mm), got {spacing_mm!r}"
        )
    return tuple(float(v) for v in values)


def as_label_maps(pred: Any, ref: Any) -> tuple[LabelMap, LabelMap]:
    """Both as integer arrays of one shape.

    Raises:
        ShapeError: The shapes differ, an array has not 1 to 3 axes or is empty, or holds anything but whole
            numbers.
    """
    maps = np.asarray(pred), np.asarray(ref)
    for name, labels in zip(("prediction", "reference"), maps, strict=True):
        if labels.dtype.kind not in "biu":
            raise ShapeError(
                f"expected integer or boolean labels (*S), got a {name} of {labels.dtype}; "
                "take the argmax or a threshold first"
            )
    if maps[0].shape != maps[1].shape or not 1 <= maps[0].ndim <= 3 or maps[0].size == 0:
        raise ShapeError(
            f"expected prediction and reference (*S) of one shape with 1 to 3 axes, got {maps[0].shape} and "
            f"{maps[1].shape}; evaluate on the reference's own grid"
        )
    return maps


def along_memory(
    pred: LabelMap, ref: LabelMap, spacing_mm: tuple[float, ...] = ()
) -> tuple[LabelMap, LabelMap, tuple[float, ...]]:
    """Both maps with the axis last along which their voxels lie side by side, and the spacing in that order.

    NIfTI files store the first axis so. No figure depends on the order of the axes, but a pass over the voxels
    against their order takes several times as long; where the two maps differ in it, one is copied.

    Example:
        >>> stored = np.zeros((4, 5), np.uint8, order="F")
        >>> pred, ref, spacing_mm = along_memory(stored, stored, (1.0, 2.0))
        >>> pred.shape, pred.flags.c_contiguous, spacing_mm
        ((5, 4), True, (2.0, 1.0))
    """
    if pred.flags.fnc and ref.flags.fnc:
        return pred.T, ref.T, spacing_mm[::-1]
    if pred.flags.fnc or ref.flags.fnc:
        return np.ascontiguousarray(pred), np.ascontiguousarray(ref), spacing_mm
    return pred, ref, spacing_mm


def labels_in(labels: LabelMap) -> list[int]:
    """Every label other than 0 that occurs, ascending.

    Example:
        >>> labels_in(np.array([[3, 3, 0], [0, 1, 1]]))
        [1, 3]
    """
    along = labels.ravel(order="K")
    # labels come in runs, and one of each says the same
    starts = along[1:][along[1:] != along[:-1]]
    return [int(label) for label in np.unique(np.append(starts, along[:1])) if label]


def diagonal_mm(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> float:
    """Distance between the centres of opposite corner voxels: no surface distance in the image is longer.

    Example:
        >>> round(diagonal_mm((16, 16, 16), (1.0, 1.0, 1.0)), 6)
        25.980762
    """
    return float(np.sqrt(sum(((n - 1) * s) ** 2 for n, s in zip(shape, spacing_mm, strict=True))))


def crop_to_foreground(pred: LabelMap, ref: LabelMap) -> tuple[LabelMap, LabelMap]:
    """Views of both on the smallest box that holds every voxel other than 0 of either.

    Example:
        >>> crop_to_foreground(np.array([0, 1, 0, 0, 0]), np.array([0, 0, 0, 2, 0]))
        (array([1, 0, 0]), array([0, 0, 2]))
    """
    box = foreground_box(pred, ref)
    return pred[box], ref[box]


def foreground_box(pred: LabelMap, ref: LabelMap) -> tuple[slice, ...]:
    """The smallest box that holds every voxel other than 0 of either map; empty where there is none.

    Example:
        >>> foreground_box(np.array([0, 1, 0, 0, 0]), np.array([0, 0, 0, 2, 0]))
        (slice(1, 4, None),)
    """
    if pred.size <= _FEW_VOXELS:
        return _box_at_once(pred, ref)
    # slices from both ends until one has foreground: what lies between is not read for this axis
    first = next((i for i in range(len(pred)) if pred[i].any() or ref[i].any()), None)
    if first is None:
        return (slice(0, 0),) * pred.ndim
    last = next(i for i in reversed(range(len(pred))) if pred[i].any() or ref[i].any())
    outer = slice(first, last + 1)
    if pred.ndim == 1:
        return (outer,)
    # slices added up by their bits, which runs along the memory; then the same for what is left of the axes
    return (outer, *foreground_box(*(np.bitwise_or.reduce(m[outer], axis=0) for m in (pred, ref))))


def _box_at_once(pred: LabelMap, ref: LabelMap) -> tuple[slice, ...]:
    either, box = (pred != 0) | (ref != 0), []
    while either.ndim:
        # the first axis against all others, which lie side by side; then what is left without it
        hit = either.reshape(len(either), -1).any(axis=1)
        if not hit.any():
            return (slice(0, 0),) * pred.ndim
        box.append(slice(int(hit.argmax()), len(hit) - int(hit[::-1].argmax())))
        either = either.any(axis=0)
    return tuple(box)
