"""The slices of one DICOM series in a folder, checked one by one and brought into order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from medconv.errors import BadImageError, GeometryError
from medconv.io.dicom.recognise import is_dicom_file
from medconv.io.dicom.stacking import Stack, stack_slices
from medconv.types import FloatArray

_TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SAME_DIRECTION = 1e-3
_SAME_SPACING_MM = 1e-4
_SHOWN = 5

DAMAGE = (InvalidDicomError, OSError, EOFError, ValueError, AttributeError, KeyError, TypeError)


@dataclass(frozen=True, eq=False)
class Series:
    """A stack of slices.

    Args:
        paths: Of the slices, in the order in which they lie along their normal.
        rows: Voxels along an image column.
        columns: Voxels along an image row.
        affine: ``(4, 4)``; from (column, row, slice) to mm, RAS.
    """

    paths: tuple[Path, ...]
    rows: int
    columns: int
    affine: FloatArray

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(X, Y, Z)``: columns, rows, slices."""
        return (self.columns, self.rows, len(self.paths))


def read_series(folder: str | Path) -> Series:
    """Read the headers of all slices in a folder and check that they are one volume.

    Files that are not DICOM, and DICOM files without voxels (reports, indices), are passed over.

    Args:
        folder: Holds the slices of one series, and no other.

    Raises:
        BadImageError: No slice, a damaged one, several series, slices of different sizes, colour, or
            multi-frame files.
        GeometryError: No position or spacing, or slices that do not stack; see ``stack_slices``.
    """
    folder = Path(folder)
    headers = _headers(folder)
    paths, name = list(headers), str(folder)
    slices = list(headers.values())
    _check_kind(headers, name)
    _check_one_series(slices, name)
    _same(headers, lambda h: (int(h.Rows), int(h.Columns)), name, "rows and columns")
    spacing = _same_numbers(headers, "PixelSpacing", 2, _SAME_SPACING_MM, name)
    if (spacing <= 0).any():
        raise GeometryError(
            f"{name}: expected a positive PixelSpacing, got {spacing.tolist()}; export it again"
        )
    directions = _same_numbers(headers, "ImageOrientationPatient", 6, _SAME_DIRECTION, name)
    positions = np.array([_numbers(h, "ImagePositionPatient", 3, p, name) for p, h in headers.items()])
    row, column = directions[:3], directions[3:]
    thickness = slices[0].get("SliceThickness")
    stack = stack_slices(
        positions, row, column, float(thickness) if thickness else None, [p.name for p in paths], name
    )
    ordered = tuple(paths[index] for index in stack.order)
    return Series(ordered, int(slices[0].Rows), int(slices[0].Columns), _affine(stack, row, column, spacing))


def _headers(folder: Path) -> dict[Path, Dataset]:
    if not folder.is_dir():
        raise BadImageError(f"{folder}: no such folder; expected one with the slices of a DICOM series")
    headers = {path: _header(path) for path in sorted(folder.iterdir()) if is_dicom_file(path)}
    images = {path: header for path, header in headers.items() if "Rows" in header}
    if not images:
        raise BadImageError(
            f"{folder}: expected the slices of a DICOM series, found {len(headers)} DICOM file(s) and none "
            f"with voxels; name the folder that holds the images"
        )
    return images


def _header(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=[*_TAGS])
    except PermissionError as error:
        raise BadImageError(f"{path}: not readable ({error.strerror}); ask its owner for access") from error
    except DAMAGE as error:
        raise BadImageError(
            f"{path}: damaged or not DICOM ({error}); copy it again from its source"
        ) from error


def _check_kind(headers: dict[Path, Dataset], name: str) -> None:
    for path, header in headers.items():
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise BadImageError(
                f"{name}: {path.name} is a multi-frame file ({header.NumberOfFrames} frames); expected one slice a "
                f"file. Convert it, for example with dcm2niix, and give its NIfTI file"
            )
        if int(header.get("SamplesPerPixel") or 1) != 1:
            raise BadImageError(
                f"{name}: {path.name} has {header.SamplesPerPixel} samples a voxel (colour); expected grey values"
            )


def _check_one_series(slices: Sequence[Dataset], name: str) -> None:
    found = Counter(
        (
            str(h.get("SeriesInstanceUID", "no UID")),
            f"{h.get('Modality', '')} {h.get('SeriesDescription', '')}".strip(),
        )
        for h in slices
    )
    if len({uid for uid, _ in found}) > 1:
        listed = "; ".join(
            f"{what or 'unnamed'}, {n} slice(s), …{uid[-12:]}" for (uid, what), n in found.most_common(_SHOWN)
        )
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise BadImageError(
            f"{name}: expected one series, got {len({uid for uid, _ in found})}: {listed}{more}; "
            f"put each series into a folder of its own"
        )


def _same(headers: dict[Path, Dataset], value: Callable[[Dataset], Any], name: str, what: str) -> None:
    first = next(iter(headers))
    for path, header in headers.items():
        if value(header) != value(headers[first]):
            raise BadImageError(
                f"{name}: expected slices of one size, got {what} {value(headers[first])} in {first.name} and "
                f"{value(header)} in {path.name}; is a scout image among them? Put it elsewhere"
            )


def _same_numbers(
    headers: dict[Path, Dataset], tag: str, count: int, tolerance: float, name: str
) -> FloatArray:
    first = next(iter(headers))
    expected = _numbers(headers[first], tag, count, first, name)
    for path, header in headers.items():
        got = _numbers(header, tag, count, path, name)
        if np.abs(got - expected).max() > tolerance:
            raise GeometryError(
                f"{name}: expected one {tag} for all slices, got {expected.tolist()} in {first.name} and "
                f"{got.tolist()} in {path.name}; is a scout image among them? Put it elsewhere"
            )
    return expected


def _numbers(header: Dataset, tag: str, count: int, path: Path, name: str) -> FloatArray:
    try:
        values = np.array([float(v) for v in header[tag].value], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        got = header[tag].value if tag in header else None
        raise GeometryError(
            f"{name}: expected {count} numbers in {tag}, got {got} in {path.name}; without them nobody knows "
            f"where its voxels lie. Export the series again"
        )
    return values


def _affine(stack: Stack, row: FloatArray, column: FloatArray, spacing: FloatArray) -> FloatArray:
    lps = np.eye(4)
    # PixelSpacing: first the distance of rows, then of columns
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[1], column * spacing[0], stack.step_mm
    lps[:3, 3] = stack.origin_mm
    affine: FloatArray = _LPS_TO_RAS @ lps
    return affine
