"""Masks and scores in the format that their file name says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io import microscopy, nifti
from medconv.io.microscopy.formats import is_microscopy
from medconv.io.microscopy.write import MASK_SUFFIXES as PICTURE_SUFFIXES
from medconv.io.nifti.file import SUFFIXES
from medconv.io.nifti.shares import write_shares as write_nifti_shares
from medconv.io.readers import suffix_of
from medconv.io.volume import Volume

MASK_SUFFIXES = (*SUFFIXES, *PICTURE_SUFFIXES)
"""Endings of the masks that can be written."""


def write_labels(
    path: str | Path, labels: npt.NDArray[Any], like: Volume, label_names: Mapping[int, str] | None = None
) -> None:
    """Write a label map on the grid of ``like`` in the smallest unsigned integer type, whole or not at all.

    NIfTI keeps the header of ``like``; TIFF, PNG and OME-Zarr are for masks of microscopy images, see
    ``medconv.io.microscopy.write_labels``.

    Args:
        path: Its ending names the format: ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``, ``.png``, ``.zarr``.
        labels: ``(*S)`` of whole, non-negative values.
        like: The image that was segmented.
        label_names: Value to name, stored so that viewers show the names.

    Raises:
        BadImageError: Values that are not labels, or a name that says no format that can hold them.
        ConfigError: ``path`` is the image itself.
        GeometryError: The shape is not that of ``like``.
    """
    write = microscopy.write_labels if _is_picture(path) else nifti.write_labels
    write(path, labels, like, label_names)


def write_shares(path: str | Path, shares: npt.NDArray[Any], like: Volume) -> None:
    """Write numbers from 0 to 1 on the grid of ``like``, as NIfTI (16 bits a voxel) or TIFF (32).

    Args:
        path: Its ending names the format: ``.nii``, ``.nii.gz``, ``.tif``, ``.tiff``.
        shares: ``(C, *S)`` or ``(*S)``, finite; what lies outside 0 to 1 is taken to the nearer end.
        like: The volume that gives the grid.

    Raises:
        BadImageError: A name that says no format.
        ConfigError: ``path`` is the image itself.
        GeometryError: The shape is not that of ``like``.
    """
    write = microscopy.write_shares if _is_picture(path) else write_nifti_shares
    write(path, shares, like)


def mask_suffix_for(image: str | Path) -> str:
    """The ending that a mask of an image gets: that of the image, if labels of any number can be kept so.

    Example:
        >>> mask_suffix_for("scan.nii"), mask_suffix_for("scan.mha"), mask_suffix_for("cells.ome.tif")
        ('.nii', '.nii.gz', '.ome.tif')
        >>> mask_suffix_for("cells.png"), mask_suffix_for("cells.zarr")
        ('.tif', '.zarr')
    """
    suffix = suffix_of(image) or ""
    if suffix.lower() in (*SUFFIXES, *PICTURE_SUFFIXES) and suffix.lower() != ".png":
        return suffix
    return ".tif" if is_microscopy(image) else SUFFIXES[0]


def _is_picture(path: str | Path) -> bool:
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES) and not is_microscopy(path):
        raise BadImageError(f"{path}: expected a name ending in {', '.join(MASK_SUFFIXES)}; add one of them")
    return is_microscopy(path)
