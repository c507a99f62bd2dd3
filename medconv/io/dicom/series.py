"""The slices of one DICOM series in a folder, checked one by one and brought into order."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError

from medconv.errors import BadImageError, GeometryError
from medconv.io.dicom.enhanced import frames_as_slices, is_enhanced
from medconv.io.dicom.recognise import is_dicom_file
from medconv.io.dicom.slices import Series, grid_affine
from medconv.io.dicom.stacking import stack_slices
from medconv.types import FloatArray

_TAGS = [
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "NumberOfFrames",
    "PerFrameFunctionalGroupsSequence",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "PixelSpacing",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
]
_SAME_DIRECTION = 1e-3
_SAME_SPACING_MM = 1e-4
_SHOWN = 5

DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    NotImplementedError,  # a kind of value that there is none of
    struct.error,
    OSError,
    EOFError,
    ValueError,
    AttributeError,
    KeyError,
    TypeError,
)


def read_series(folder: str | Path) -> Series:
    """Read the headers of all slices in a folder and check that they are one volume.

    Files that are not DICOM, and DICOM files without voxels (reports, indices), are passed over. An enhanced file
    holds all slices as its frames, each with its own place and scaling; it lies in a folder alone.

    Args:
        folder: Holds the slices of one series, and no other.

    Raises:
        BadImageError: No slice, a damaged one, several series, slices of different sizes, colour, or
            frames that do not say where they lie.
        GeometryError: No position or spacing, or slices that do not stack; see ``stack_slices``.
    """
    folder, name = Path(folder), str(folder)
    files = _headers(folder)
    _check_kind(files, name)
    _check_one_series(list(files.values()), name)
    enhanced = next(filter(is_enhanced, files.values()), None)
    headers = files if enhanced is None else _frames(next(iter(files)), name)
    slices = list(headers.values())
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
        positions,
        row,
        column,
        float(thickness) if thickness else None,
        [path.name for path in headers],
        name,
        is_one_file=enhanced is not None,
    )
    size = (int(slices[0].Rows), int(slices[0].Columns))
    affine = grid_affine(stack, row, column, spacing)
    if enhanced is not None:
        scales = tuple(_scale(slices[index]) for index in stack.order)
        return Series(tuple(files), *size, affine, stack.order, scales)
    paths = list(headers)
    return Series(tuple(paths[index] for index in stack.order), *size, affine)


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
        header = dcmread(path, stop_before_pixels=True, specific_tags=[*_TAGS])
        # values are understood when they are asked for: now, while it is known whose they are
        if "Rows" in header and not (int(header.Rows) and int(header.Columns)):
            raise ValueError("no rows or columns")
        for _ in header:
            pass
        return header
    except PermissionError as error:
        raise BadImageError(f"{path}: not readable ({error.strerror}); ask its owner for access") from error
    except DAMAGE as error:
        raise BadImageError(
            f"{path}: damaged or not DICOM ({error}); copy it again from its source"
        ) from error


def _frames(path: Path, name: str) -> dict[Path, Dataset]:
    try:
        return frames_as_slices(path, name)
    except BadImageError:
        raise
    except DAMAGE as error:
        raise BadImageError(f"{path}: damaged ({error}); copy it again from its source") from error


def _scale(header: Dataset) -> tuple[float, float]:
    return float(header.get("RescaleSlope", 1.0)), float(header.get("RescaleIntercept", 0.0))


def _check_kind(headers: dict[Path, Dataset], name: str) -> None:
    for path, header in headers.items():
        frames = int(header.get("NumberOfFrames") or 1)
        if is_enhanced(header) and len(headers) > 1:
            raise BadImageError(
                f"{name}: {path.name} is an enhanced file, which holds a whole volume ({frames} frame(s)), and there "
                f"are {len(headers) - 1} more file(s) beside it; put it into a folder of its own"
            )
        if frames > 1 and not is_enhanced(header):
            raise BadImageError(
                f"{name}: {path.name} is a multi-frame file ({frames} frames) that does not say where each frame lies; "
                f"expected one slice a file, or an enhanced file. Convert it, for example with dcm2niix, and give its "
                f"NIfTI file"
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
