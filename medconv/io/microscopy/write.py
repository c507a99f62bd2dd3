"""Write label maps and scores as PNG, TIFF or OME-Zarr, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError, ConfigError
from medconv.io.atomic import atomic_path
from medconv.io.microscopy.formats import JPEG_SUFFIXES, TIFF_SUFFIXES, ZARR_SUFFIXES, in_zarr, is_microscopy
from medconv.io.nifti.label_values import to_labels
from medconv.io.nifti.write import require_shape
from medconv.io.volume import Volume

MASK_SUFFIXES = (*TIFF_SUFFIXES, ".png", *ZARR_SUFFIXES)
"""Endings of the masks that can be written."""

PNG_LARGEST = 65_535


def write_labels(
    path: str | Path, labels: npt.NDArray[Any], like: Volume, label_names: Mapping[int, str] | None = None
) -> None:
    """Write a label map of an image in the smallest unsigned integer type, with the pixel size of the image.

    TIFF is ImageJ's up to label 65 535 and OME-TIFF above or where the name says ``.ome.tif``. OME-Zarr is a label
    image of its own; where the path leads to ``labels/NAME`` in the folder of an image, it is added to that image.

    Args:
        path: Ends in ``.tif``, ``.tiff``, ``.png`` or ``.zarr``, or leads to ``IMAGE.zarr/labels/NAME``.
        labels: ``(Y, X, Z)`` of whole, non-negative values.
        like: The image that was segmented.
        label_names: Value to name; OME-Zarr and TIFF store them.

    Raises:
        BadImageError: Values that are not labels or too large for the format, or a stack as PNG.
        ConfigError: ``path`` is the image itself, or the image lies in a patient, which the format cannot say.
        GeometryError: The shape is not that of ``like``.
    """
    path = Path(path)
    require_shape(labels.shape, like)
    _require_other(path, like)
    values = to_labels(np.asarray(labels), f"labels for {like.name}")
    names = dict(label_names or {})
    if in_zarr(path):
        _module("ome_zarr_write").write_label_image(path, values, like, names)
    elif path.name.lower().endswith(TIFF_SUFFIXES):
        with atomic_path(path) as temporary:
            _module("tiff_write").write_planes(temporary, values[None], like, names)
    elif path.suffix.lower() == ".png":
        with atomic_path(path) as temporary:
            _module("raster_write").write_png(temporary, _single(values, path))
    else:
        lossy = "JPEG changes the values of pixels; " if path.name.lower().endswith(JPEG_SUFFIXES) else ""
        raise BadImageError(
            f"{path}: {lossy}expected a mask ending in {', '.join(MASK_SUFFIXES)}; choose one of them"
        )


def write_shares(path: str | Path, shares: npt.NDArray[Any], like: Volume) -> None:
    """Write numbers from 0 to 1 as float32 TIFF, channels as its channels.

    Args:
        path: Ends in ``.tif`` or ``.tiff``; the folder is made if it is absent.
        shares: ``(C, Y, X, Z)`` or ``(Y, X, Z)``, finite; what lies outside 0 to 1 is taken to the nearer end.
        like: The image that gives the pixel size.

    Raises:
        BadImageError: A name without the ending of TIFF.
        ConfigError: ``path`` is the image itself.
        GeometryError: The shape is not that of ``like``.

    Cost:
        One slice in memory, however large the array is.
    """
    path = Path(path)
    channels = shares if shares.ndim == len(like.shape) + 1 else shares[None]
    require_shape(channels.shape[1:], like)
    _require_other(path, like)
    if not path.name.lower().endswith(TIFF_SUFFIXES):
        raise BadImageError(
            f"{path}: expected a name ending in {' or '.join(TIFF_SUFFIXES)}; add one of them"
        )
    with atomic_path(path) as temporary:
        _module("tiff_write").write_planes(temporary, channels, like, {}, as_shares=True)


def _require_other(path: Path, like: Volume) -> None:
    if like.path is None:
        return
    if path.exists() and like.path.exists() and path.samefile(like.path):
        raise ConfigError(f"{path}: is the image itself, which would be lost; choose another name or folder")
    if not is_microscopy(like.path):
        raise ConfigError(
            f"{path}: expected a mask of {like.path.name} ending in .nii.gz; {path.suffix or 'this format'} cannot say "
            f"where voxels lie in a patient"
        )


def _single(values: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    if values.shape[-1] > 1:
        raise BadImageError(
            f"{path}: expected one image for a PNG file, got a stack of {values.shape[-1]} slices; write it as .tif"
        )
    if (largest := int(values.max())) > PNG_LARGEST:
        raise BadImageError(
            f"{path}: expected labels up to {PNG_LARGEST} for a PNG file, got {largest}; write them as .tif"
        )
    return values[..., 0]


def _module(name: str) -> Any:
    """Loaded when a file of the format is written, for its library."""
    return import_module(f"medconv.io.microscopy.{name}")
