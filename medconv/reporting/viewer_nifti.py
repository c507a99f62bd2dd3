"""Voxels as the bytes of a NIfTI-1 file, small enough to travel inside a page."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.types import FloatArray

_TYPES = {"uint8": 2, "int16": 4, "uint16": 512}
_STEPS = 65534
_HEADER_BYTES, _VOXELS_AT = 348, 352
_IN_MM, _SCANNER_SPACE = 2, 1


def nifti_bytes(
    data: npt.NDArray[Any], affine: FloatArray, slope: float = 1.0, intercept: float = 0.0
) -> bytes:
    """A ``.nii.gz`` file in memory: header, affine as sform, voxels.

    Args:
        data: ``(X, Y, Z)`` of type uint8, int16 or uint16.
        affine: ``(4, 4)``, voxel index to mm, RAS+.
        slope: Stored voxels times this …
        intercept: … plus this are the intensities.
    """
    header = bytearray(_VOXELS_AT)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    struct.pack_into("<i", header, 0, _HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, *data.shape, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _TYPES[data.dtype.name], 8 * data.dtype.itemsize)
    struct.pack_into("<8f", header, 76, 1, *spacing, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, _VOXELS_AT, slope, intercept)
    struct.pack_into("<b", header, 123, _IN_MM)
    struct.pack_into("<2h", header, 252, 0, _SCANNER_SPACE)
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    struct.pack_into("<4s", header, 344, b"n+1\0")
    voxels = np.asarray(data, data.dtype.newbyteorder("<")).tobytes(order="F")
    # without a time stamp: the same volume gives the same page
    return gzip.compress(bytes(header) + voxels, compresslevel=6, mtime=0)


def in_16_bits(image: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.int16], float, float]:
    """Intensities as int16 with slope and intercept: exact where they are whole numbers that fit.

    Args:
        image: Finite.

    Returns:
        Stored values, slope, intercept. Other intensities are off by at most 1/131068 of their range.

    Example:
        >>> stored, slope, intercept = in_16_bits(np.array([-1000.0, 3000.0]))
        >>> stored.tolist(), slope, intercept
        ([-1000, 3000], 1.0, 0.0)
    """
    low, high = float(image.min()), float(image.max())
    bounds = np.iinfo(np.int16)
    if bounds.min <= low and high <= bounds.max and (image == np.rint(image)).all():
        return image.astype(np.int16), 1.0, 0.0
    slope = (high - low) / _STEPS or 1.0
    middle = (high + low) / 2
    return np.rint((image.astype(np.float64) - middle) / slope).astype(np.int16), slope, middle
