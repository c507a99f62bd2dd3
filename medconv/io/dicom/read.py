"""Read a DICOM series as a volume, its intensities rescaled as each slice says."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut

from medconv.errors import BadImageError
from medconv.io.dicom.series import DAMAGE, read_series
from medconv.io.dicom.slices import Series
from medconv.io.nifti.header import MAX_VOXELS, Header, header_on_grid
from medconv.io.nifti.label_values import as_label_map
from medconv.io.nifti.read import check_channels, require_finite
from medconv.io.volume import Volume


def read_header(path: str | Path) -> Header:
    """Shape and geometry of a series, without decoding a voxel.

    Args:
        path: The folder of the series.

    Raises:
        BadImageError: See ``read_series``.
        GeometryError: See ``read_series``.
    """
    return _header_of(read_series(path), str(path))


def read_volume(path: str | Path, *, channels: int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read a series as ``(1, X, Y, Z)`` float32: columns, rows, slices along their normal.

    Args:
        path: The folder of the series.
        channels: How many channels the image must have; a series has one.
        max_voxels: Largest number of voxels that is read.

    Raises:
        BadImageError: Also where a slice cannot be decoded, or the volume is too large.
        GeometryError: See ``read_series``.
    """
    path = Path(path)
    series = read_series(path)
    header = _header_of(series, str(path))
    check_channels(header, channels, str(path))
    voxels = math.prod(series.shape)
    if voxels > max_voxels:
        raise BadImageError(
            f"{path}: {series.shape} = {voxels:,} voxels are more than max_voxels={max_voxels:,}; raise it, or crop"
        )
    data = require_finite(_voxels(series), str(path))
    return Volume(data[None], header.geometry, header.raw, path)


def read_labels(
    path: str | Path,
    *,
    allowed: Collection[int] | None = None,
    like: Volume | None = None,
    max_voxels: int = MAX_VOXELS,
) -> Volume:
    """Read a series whose voxels are label values; see ``medconv.io.read_labels``.

    Raises:
        BadImageError: As for :func:`read_volume`, or values that are negative, not whole or not allowed.
        GeometryError: As for :func:`read_volume`, or the grid is not that of ``like``.
    """
    return as_label_map(read_volume(path, channels=1, max_voxels=max_voxels), allowed, like)


def _header_of(series: Series, name: str) -> Header:
    return header_on_grid(series.affine, series.shape, name)


def _voxels(series: Series) -> npt.NDArray[np.float32]:
    """``(X, Y, Z)``, in memory as the slices are: row after row, slice after slice."""
    data = np.empty(series.shape[::-1], np.float32)
    inverted = (_fill_from_frames if series.frames else _fill_from_slices)(data, series)
    if inverted:
        warnings.warn(
            f"{series.paths[0].parent}: MONOCHROME1, low values are shown bright; voxels are taken as they are stored",
            stacklevel=3,
        )
    return data.transpose(2, 1, 0)


def _fill_from_slices(data: npt.NDArray[np.float32], series: Series) -> bool:
    """Fill ``data``; whether low values are meant to be bright."""
    inverted = False
    for index, path in enumerate(series.paths):
        dataset, pixels = _decode(path)
        _require_size(pixels, data.shape[1:], path)
        data[index] = apply_modality_lut(pixels, dataset)
        inverted |= _is_inverted(dataset)
    return inverted


def _fill_from_frames(data: npt.NDArray[np.float32], series: Series) -> bool:
    path = series.paths[0]
    dataset, pixels = _decode(path)
    pixels = pixels.reshape(-1, *pixels.shape[-2:])  # a single frame comes without its axis
    _require_size(pixels, data.shape, path)
    for index, (frame, (slope, intercept)) in enumerate(zip(series.frames, series.scales, strict=True)):
        data[index] = pixels[frame] * slope + intercept
    return _is_inverted(dataset)


def _require_size(pixels: npt.NDArray[Any], shape: tuple[int, ...], path: Path) -> None:
    if pixels.shape != shape:
        raise BadImageError(
            f"{path}: expected {shape} rows and columns, got {pixels.shape}; copy it again from its source"
        )


def _is_inverted(dataset: Dataset) -> bool:
    return bool(dataset.get("PhotometricInterpretation") == "MONOCHROME1")


def _decode(path: Path) -> tuple[Dataset, npt.NDArray[Any]]:
    try:
        dataset = dcmread(path)
        return dataset, dataset.pixel_array
    except MemoryError as error:
        raise BadImageError(f"{path}: does not fit into memory; free some, or crop the image") from error
    except (NotImplementedError, RuntimeError) as error:
        # what pydicom raises where no decoder for the compression is installed
        syntax = dataset.file_meta.TransferSyntaxUID.name
        raise BadImageError(
            f"{path}: compressed as {syntax}, which cannot be decoded here ({' '.join(str(error).split())[:120]}); "
            f"pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress it (gdcmconv --raw)"
        ) from error
    except DAMAGE as error:
        raise BadImageError(f"{path}: damaged ({error}); copy it again from its source") from error
