"""Where slices lie: whether they are equally spaced, straight above each other, each there once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medconv.errors import GeometryError
from medconv.io.geometry import GRID_TOLERANCE_VOX
from medconv.types import FloatArray

_SAME_PLACE_MM = 1e-3
_UNIT_TOLERANCE = 1e-3
_LARGEST_TILT_DEG = 1.0
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class Stack:
    """How slices make up a volume.

    Args:
        order: Index of the slice that lies first, second, … along the normal of the slices.
        origin_mm: Centre of the first voxel of the first slice, LPS.
        step_mm: From one slice to the next, LPS.
    """

    order: tuple[int, ...]
    origin_mm: FloatArray
    step_mm: FloatArray


def stack_slices(
    positions_mm: FloatArray,
    row_direction: FloatArray,
    column_direction: FloatArray,
    thickness_mm: float | None,
    names: Sequence[str],
    series: str,
    *,
    is_one_file: bool = False,
) -> Stack:
    """Order slices along their normal, or say why they are no volume.

    Args:
        positions_mm: ``(N, 3)``, centre of the first voxel of each slice, LPS.
        row_direction: ``(3,)``, the direction in which the column index grows.
        column_direction: ``(3,)``, the direction in which the row index grows.
        thickness_mm: Stands for the distance of slices where there is only one.
        names: What errors call the slices.
        series: What errors call the whole.
        is_one_file: Whether the slices are the frames of one file, which a user cannot sort into folders.

    Raises:
        GeometryError: Directions that are not perpendicular unit vectors; slices that are doubled, missing,
            unequally spaced, or shifted sideways, as under a tilted gantry.

    Example:
        >>> places = np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
        >>> x, y = np.eye(3)[:2]
        >>> stack_slices(places, x, y, None, ["a", "b", "c"], "scan").order
        (1, 2, 0)
    """
    normal = _normal(row_direction, column_direction, series)
    along = positions_mm @ normal
    order = np.argsort(along, kind="stable")
    first = positions_mm[order[0]]
    if len(order) == 1:
        return Stack((0,), first, normal * _single_thickness(thickness_mm, series))
    placed = [names[index] for index in order]
    _check_gaps(along[order], placed, series, is_one_file)
    step = (positions_mm[order[-1]] - first) / (len(order) - 1)
    _check_tilt(step, normal, series)
    _check_line(positions_mm[order], first, step, placed, series)
    return Stack(tuple(int(index) for index in order), first, step)


def _normal(row_direction: FloatArray, column_direction: FloatArray, series: str) -> FloatArray:
    lengths = np.array([np.linalg.norm(row_direction), np.linalg.norm(column_direction)])
    if (np.abs(lengths - 1) > _UNIT_TOLERANCE).any() or (
        abs(float(row_direction @ column_direction)) > _UNIT_TOLERANCE
    ):
        raise GeometryError(
            f"{series}: expected perpendicular unit vectors in ImageOrientationPatient, got "
            f"{[round(float(v), 4) for v in (*row_direction, *column_direction)]}; export the series again"
        )
    normal = np.cross(row_direction, column_direction)
    return normal / np.linalg.norm(normal)


def _single_thickness(thickness_mm: float | None, series: str) -> float:
    if not thickness_mm or not math.isfinite(thickness_mm) or thickness_mm < 0:
        raise GeometryError(
            f"{series}: expected a SliceThickness for a single slice, got {thickness_mm}; set it, or add the "
            f"other slices of the series"
        )
    return thickness_mm


def _check_gaps(along_mm: FloatArray, names: Sequence[str], series: str, is_one_file: bool) -> None:
    gaps = np.diff(along_mm)
    apart = gaps[gaps > _SAME_PLACE_MM]
    if len(apart) < len(gaps):
        _refuse_doubled(along_mm, names, series, is_one_file)
    spacing = float(np.median(apart))
    wrong = np.flatnonzero(np.abs(gaps - spacing) > GRID_TOLERANCE_VOX * spacing)
    if not len(wrong):
        return
    missing = np.rint(gaps / spacing).astype(int) - 1
    listed = "; ".join(
        f"{gaps[i]:.4g} mm between {names[i]} and {names[i + 1]}"
        + (f" ({missing[i]} missing)" if missing[i] > 0 else "")
        for i in wrong[:_SHOWN]
    )
    more = f" and {len(wrong) - _SHOWN} more places" if len(wrong) > _SHOWN else ""
    # half a spacing left over is no hole in a regular stack but a stack of two spacings
    is_regular = (np.abs(gaps[wrong] - (missing[wrong] + 1) * spacing) <= 0.1 * spacing).all()
    if is_regular and (missing[wrong] > 0).all():
        raise GeometryError(
            f"{series}: {int(missing[wrong].sum())} slice(s) missing from a stack with {spacing:.4g} mm from slice "
            f"to slice: {listed}{more}; copy the series again from its source"
        )
    raise GeometryError(
        f"{series}: expected equal distances from slice to slice ({spacing:.4g} mm), got {listed}{more}; "
        f"resample the series to an equal spacing, or take a reconstruction that has one"
    )


def _refuse_doubled(along_mm: FloatArray, names: Sequence[str], series: str, is_one_file: bool) -> None:
    starts = np.flatnonzero(np.diff(along_mm, prepend=-np.inf) > _SAME_PLACE_MM)
    counts = np.diff(starts, append=len(along_mm))
    if len(set(counts.tolist())) == 1 and len(counts) > 1:
        remedy = "put each volume into a folder of its own"
        if is_one_file:
            remedy = "split the file, for example with dcm2niix, and give its NIfTI files"
        raise GeometryError(
            f"{series}: {len(counts)} positions with {counts[0]} slices each: {counts[0]} volumes (times, echoes "
            f"or copies) in one {'file' if is_one_file else 'folder'}; {remedy}"
        )
    places = [
        f"{' and '.join(names[s : s + n])}"
        for s, n in zip(starts.tolist(), counts.tolist(), strict=True)
        if n > 1
    ]
    more = f" and {len(places) - _SHOWN} more places" if len(places) > _SHOWN else ""
    raise GeometryError(
        f"{series}: doubled slices, at one position each: {'; '.join(places[:_SHOWN])}{more}; remove the copies"
    )


def _check_tilt(step_mm: FloatArray, normal: FloatArray, series: str) -> None:
    cosine = float(step_mm @ normal) / float(np.linalg.norm(step_mm))
    tilt_deg = math.degrees(math.acos(min(1.0, cosine)))
    if tilt_deg > _LARGEST_TILT_DEG:
        raise GeometryError(
            f"{series}: the gantry was tilted: slices are shifted against each other, {tilt_deg:.3g}° from straight "
            f"(at most {_LARGEST_TILT_DEG:g}° is repaired); convert the series with tilt correction, for example with "
            f"dcm2niix, and give its NIfTI file"
        )


def _check_line(
    positions_mm: FloatArray, first: FloatArray, step: FloatArray, names: Sequence[str], series: str
) -> None:
    expected = first + np.arange(len(positions_mm))[:, None] * step
    off_mm = np.linalg.norm(positions_mm - expected, axis=1)
    worst = int(off_mm.argmax())
    if off_mm[worst] > GRID_TOLERANCE_VOX * float(np.linalg.norm(step)):
        raise GeometryError(
            f"{series}: expected slices in a straight line, but {names[worst]} lies {off_mm[worst]:.3g} mm off it; "
            f"export the series again, or resample it onto a straight grid"
        )
