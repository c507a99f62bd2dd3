"""Read images and labels; what is wrong with a file is said before its voxels take memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Image

from medconv.errors import BadImageError, GeometryError, VoxelValueError
from medconv.io.geometry import require_same_grid
from medconv.io.nifti.file import as_bad_image, decode, is_compressed, open_nifti
from medconv.io.nifti.header import (
    MAX_VOXELS,
    Form,
    Header,
    check_file_size,
    check_fits,
    header_on_grid,
    inspect_header,
)
from medconv.io.nifti.label_table import label_names_in_header
from medconv.io.nifti.label_values import to_labels
from medconv.io.volume import Volume


def read_header(path: str | Path, *, form: Form | None = None) -> Header:
    """Shape, channels and geometry of a file, without decoding a voxel.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        form: Which affine to believe where qform and sform disagree; ``None`` refuses such files.

    Raises:
        BadImageError: The file or its header is unusable.
        GeometryError: Its affine is.
    """
    path = Path(path)
    with open_nifti(path) as (raw, _):
        return inspect_header(raw, str(path), form)


def read_label_names(path: str | Path) -> dict[int, str]:
    """The names in the label table of a file; empty where it carries none.

    Raises:
        BadImageError: See :func:`read_header`.
        GeometryError: See :func:`read_header`.
    """
    return label_names_in_header(read_header(path).raw)


def read_volume(
    path: str | Path,
    *,
    channels: int | None = None,
    max_voxels: int = MAX_VOXELS,
    form: Form | None = None,
) -> Volume:
    """Read an image as ``(C, X, Y, Z)`` float32, axes in the order they are stored.

    Args:
        path: ``.nii`` or ``.nii.gz``; two to four axes, the fourth being channels.
        channels: How many channels the image must have; ``None`` takes what comes.
        max_voxels: Largest number of voxels × channels that is read.
        form: Which affine to believe where qform and sform disagree; ``None`` refuses such files.

    Raises:
        BadImageError: Absent, damaged, truncated, too large, without voxels, with another number of channels,
            or with voxels that are NaN or infinite.
        GeometryError: The affine is singular, not finite, sheared, or given twice differently.

    Cost:
        Each voxel is decoded once; at most two copies of the volume are in memory.
    """
    path = Path(path)
    with open_nifti(path) as (raw, stream):
        header = _checked(raw, path, max_voxels, form)
        check_channels(header, channels, str(path))
        data = decode(raw, stream, np.float32)
    return _image(data, header, path, str(path))


def read_labels(
    path: str | Path,
    *,
    allowed: Collection[int] | None = None,
    like: Volume | None = None,
    max_voxels: int = MAX_VOXELS,
    form: Form | None = None,
) -> Volume:
    """Read a label map as ``(1, X, Y, Z)`` of the smallest unsigned integer type.

    Args:
        path: ``.nii`` or ``.nii.gz`` with one channel.
        allowed: Every value that may occur; ``None`` allows all.
        like: The image on whose grid the labels must lie.
        max_voxels: Largest number of voxels that is read.
        form: Which affine to believe where qform and sform disagree; ``None`` refuses such files.

    Raises:
        BadImageError: As for :func:`read_volume`, or values that are negative, not whole or not allowed.
        GeometryError: As for :func:`read_volume`, or the grid is not that of ``like``.
    """
    path = Path(path)
    with open_nifti(path) as (raw, stream):
        header = _checked(raw, path, max_voxels, form)
        check_channels(header, 1, str(path))
        if like is not None:
            require_same_grid(like, header)
        data = decode(raw, stream)
    labels = to_labels(data, str(path), allowed)
    return Volume(_channels_first(labels, header), header.geometry, header.raw, path)


def volume_from_nibabel(image: Any, *, channels: int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Take over an image that nibabel holds, with the same checks as :func:`read_volume`."""
    path = Path(image.get_filename()) if image.get_filename() else None
    name = str(path) if path else "the nibabel image"
    image = Nifti1Image.from_image(image)
    image.update_header()
    with as_bad_image(name):
        check_fits(image.header, name, max_voxels)
        header = inspect_header(image.header, name)
        check_channels(header, channels, name)
        with np.errstate(over="ignore", invalid="ignore"):
            data = np.asanyarray(image.dataobj, dtype=np.float32)
    return _image(data, header, path, name)


def volume_from_array(
    array: npt.ArrayLike,
    spacing_mm: Sequence[float] | None = None,
    *,
    affine: npt.ArrayLike | None = None,
) -> Volume:
    """Make a volume of an array ``(*S)`` or ``(C, *S)``, with a spacing or an affine.

    Args:
        array: Two or three axes, or one more in front for channels.
        spacing_mm: Edge lengths of a voxel, axes growing to R, A and S; two entries for a single slice.
        affine: ``(4, 4)``, voxel index to mm, instead of ``spacing_mm``; the array then has three axes.

    Raises:
        BadImageError: NaN, infinite or no voxels, or another number of axes.
        GeometryError: A spacing that is not positive, an unusable affine, both or neither.

    Example:
        >>> volume_from_array(np.zeros((4, 5, 6)), (1.0, 1.0, 2.5)).data.shape
        (1, 4, 5, 6)
    """
    if (spacing_mm is None) == (affine is None):
        raise GeometryError("expected either spacing_mm or affine, got both or neither; give one of the two")
    dims = 3 if spacing_mm is None else len(spacing_mm)
    placed = _affine_of(spacing_mm) if spacing_mm is not None else np.asarray(affine, dtype=np.float64)
    data = np.asarray(array)
    data = data[None] if data.ndim == dims else data
    if data.ndim != dims + 1:
        raise BadImageError(
            f"expected an array of {dims} axes (one per entry of spacing_mm) or one more for channels, "
            f"got the shape {data.shape}"
        )
    data = data[..., None] if dims == 2 else data
    header = header_on_grid(placed, data.shape[1:], "the array")
    return Volume(require_finite(data.astype(np.float32), "the array"), header.geometry, header.raw)


def _affine_of(spacing_mm: Sequence[float]) -> npt.NDArray[np.float64]:
    spacing = tuple(float(s) for s in spacing_mm)
    if len(spacing) not in (2, 3) or not all(np.isfinite(s) and s > 0 for s in spacing):
        raise GeometryError(f"expected a spacing_mm of two or three positive numbers, got {list(spacing_mm)}")
    return np.diag((*spacing, 1.0, 1.0)[:4])


def _checked(raw: Any, path: Path, max_voxels: int, form: Form | None) -> Header:
    header = inspect_header(raw, str(path), form)
    check_fits(raw, str(path), max_voxels)
    check_file_size(raw, str(path), path.stat().st_size, is_compressed(path))
    return header


def check_channels(header: Header, channels: int | None, name: str) -> None:
    """Refuse another number of channels than expected.

    Raises:
        BadImageError: It is another; with both numbers.
    """
    if channels is not None and header.channels != channels:
        raise BadImageError(
            f"{name}: expected {channels} channel(s), got {header.channels}; take the right file, or "
            f"extract the "
            f"volumes you need from a time series or a multi-channel image (e.g. img.slicer[..., "
            f":{channels}])"
        )


def _image(data: npt.NDArray[Any], header: Header, path: Path | None, name: str) -> Volume:
    data = _channels_first(require_finite(data, name), header)
    return Volume(data, header.geometry, header.raw, path)


def _channels_first(data: npt.NDArray[Any], header: Header) -> npt.NDArray[Any]:
    return np.moveaxis(data.reshape(*header.shape, header.channels), -1, 0)


def require_finite(data: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    """The same voxels, if all are finite.

    Raises:
        BadImageError: Some are not; with their number.
    """
    if np.isfinite(data).all():
        return data
    nan, infinite = int(np.isnan(data).sum()), int(np.isinf(data).sum())
    raise VoxelValueError(
        f"{name}: expected finite float32 voxels, got {nan} NaN and {infinite} infinite of "
        f"{data.size:,}; find out "
        f"where they come from, or replace them (e.g. numpy.nan_to_num) and save the image again"
    )
