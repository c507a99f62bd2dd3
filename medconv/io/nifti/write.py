"""Write labels and images on a grid that already exists, with its header, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Header, Nifti2Image

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io.atomic import atomic_path
from medconv.io.nifti.file import SUFFIXES
from medconv.io.nifti.label_table import label_table
from medconv.io.nifti.label_values import to_labels
from medconv.io.volume import Volume

_INTENT_LABEL = 1002


def write_labels(
    path: str | Path,
    labels: npt.NDArray[Any],
    like: Volume,
    label_names: Mapping[int, str] | None = None,
) -> None:
    """Write a label map on the grid of ``like``, in the smallest unsigned integer type.

    Units, description and both forms of the affine come from the header of ``like``; qform and sform are
    written equal. Its extensions (often DICOM tags of the scan) are left out.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; the folder is made if it is absent.
        labels: ``(*S)`` of whole, non-negative values.
        like: The image that was segmented.
        label_names: Value to name, stored so that viewers show the names.

    Raises:
        BadImageError: Values that are not labels, or a name without a NIfTI suffix.
        ConfigError: ``path`` is the file that ``like`` was read from.
        GeometryError: The shape is not that of ``like``.
    """
    _save(path, labels_to_nibabel(labels, like, label_names), like)


def labels_to_nibabel(
    labels: npt.NDArray[Any], like: Volume, label_names: Mapping[int, str] | None = None
) -> Any:
    """The image that :func:`write_labels` writes, in memory.

    Raises:
        BadImageError: Values that are not labels.
        GeometryError: The shape is not that of ``like``.
    """
    require_shape(labels.shape, like)
    values = to_labels(np.asarray(labels), f"labels for {like.name}")
    header = header_for(like, values.dtype)
    header["intent_code"] = _INTENT_LABEL
    header["cal_min"], header["cal_max"] = 0, values.max()
    if label_names:
        header.extensions.append(label_table(label_names))
    return _image(values, header)


def write_volume(path: str | Path, data: npt.NDArray[Any], like: Volume) -> None:
    """Write an image or class scores on the grid of ``like`` as float32, channels as the fourth axis.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``; the folder is made if it is absent.
        data: ``(C, *S)`` or ``(*S)``.
        like: The volume that gives the grid and header.

    Raises:
        BadImageError: A name without a NIfTI suffix.
        ConfigError: ``path`` is the file that ``like`` was read from.
        GeometryError: The spatial shape is not that of ``like``.
    """
    channels = data if data.ndim == len(like.shape) + 1 else data[None]
    require_shape(channels.shape[1:], like)
    header = header_for(like, np.dtype(np.float32))
    header["cal_min"], header["cal_max"] = 0, 0
    voxels = channels[0] if len(channels) == 1 else np.moveaxis(channels, 0, -1)
    _save(path, _image(voxels.astype(np.float32, copy=False), header), like)


def require_shape(shape: tuple[int, ...], like: Volume) -> None:
    """Refuse voxels that do not fill the grid of ``like``.

    Raises:
        GeometryError: They do not; with both shapes.
    """
    if tuple(shape) != like.shape:
        raise GeometryError(
            f"{like.name}: expected voxels of its shape {like.shape} to write on its grid, got "
            f"{tuple(shape)}; "
            f"bring them back to the native grid first (Preprocessor.restore)"
        )


def header_for(like: Volume, dtype: np.dtype[Any]) -> Any:
    """The header of ``like`` for voxels of another type, unscaled and without extensions."""
    header = like.header.copy()
    header.extensions.clear()
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    return header


def _image(voxels: npt.NDArray[Any], header: Any) -> Any:
    image_class = Nifti2Image if isinstance(header, Nifti2Header) else Nifti1Image
    return image_class(voxels, header.get_best_affine(), header)


@contextmanager
def whole_file(path: str | Path, like: Volume) -> Iterator[Path]:
    """Yield a temporary path that replaces ``path`` when all went well.

    Raises:
        BadImageError: A name without a NIfTI suffix.
        ConfigError: ``path`` is the file that ``like`` was read from.
    """
    path = Path(path)
    if not path.name.lower().endswith(SUFFIXES):
        raise BadImageError(f"{path}: expected a name ending in {' or '.join(SUFFIXES)}; add one of them")
    if like.path is not None and path.resolve() == like.path.resolve():
        raise ConfigError(f"{path}: is the image itself, which would be lost; choose another name or folder")
    with atomic_path(path) as temporary:
        yield temporary


def _save(path: str | Path, image: Any, like: Volume) -> None:
    with whole_file(path, like) as temporary:
        image.to_filename(temporary)
