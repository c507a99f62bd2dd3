"""Read NRRD and MetaImage files with SimpleITK, which the extra ``itk`` installs."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.nifti.header import MAX_VOXELS, Header, header_on_grid
from medconv.io.nifti.label_values import as_label_map
from medconv.io.nifti.read import check_channels, require_finite
from medconv.io.volume import Volume

try:
    import SimpleITK as sitk  # noqa: N813
except ImportError:
    sitk = None  # type: ignore[assignment]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_header(path: str | Path) -> Header:
    """Shape, channels and geometry of a file, without decoding a voxel.

    Raises:
        BadImageError: SimpleITK is not installed, or the file is unusable.
        GeometryError: Its affine is.
    """
    return _header(_information(Path(path)), str(path))


def read_volume(path: str | Path, *, channels: int | None = None, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read an image as ``(C, X, Y, Z)`` float32.

    Args:
        path: ``.nrrd``, ``.nhdr``, ``.mha`` or ``.mhd``; two to four axes, or several components a voxel. The
            fourth axis, or the components, are channels.
        channels: How many channels the image must have; ``None`` takes what comes.
        max_voxels: Largest number of voxels × channels that is read.

    Raises:
        BadImageError: SimpleITK is not installed, or the file is damaged, too large, has another number of
            channels, or voxels that are NaN or infinite.
        GeometryError: The affine is unusable.
    """
    path = Path(path)
    reader = _information(path)
    header = _header(reader, str(path))
    check_channels(header, channels, str(path))
    voxels = math.prod(header.shape) * header.channels
    if voxels > max_voxels:
        raise BadImageError(
            f"{path}: {header.shape} voxels and {header.channels} channel(s) are more than max_voxels={max_voxels:,}; "
            f"raise it, or crop the image"
        )
    data = _voxels(reader, header, path)
    return Volume(require_finite(data, str(path)), header.geometry, header.raw, path)


def read_labels(
    path: str | Path,
    *,
    allowed: Collection[int] | None = None,
    like: Volume | None = None,
    max_voxels: int = MAX_VOXELS,
) -> Volume:
    """Read a label map; see ``medconv.io.read_labels``.

    Raises:
        BadImageError: As for :func:`read_volume`, or values that are negative, not whole or not allowed.
        GeometryError: As for :func:`read_volume`, or the grid is not that of ``like``.
    """
    return as_label_map(read_volume(path, channels=1, max_voxels=max_voxels), allowed, like)


def _information(path: Path) -> Any:
    if sitk is None:
        raise BadImageError(
            f"{path}: reading {path.suffix.lower()} files needs SimpleITK; pip install 'medconv[itk]', "
            f"or convert it to NIfTI"
        )
    if not path.is_file():
        raise BadImageError(f"{path}: no such file; check the path, relative ones start at {Path.cwd()}")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadImageError(
            f"{path}: damaged or of another type ({_reason(error)}); copy it again"
        ) from error
    return reader


def _header(reader: Any, name: str) -> Header:
    size, dims = tuple(int(n) for n in reader.GetSize()), int(reader.GetDimension())
    components = int(reader.GetNumberOfComponents())
    if dims not in (2, 3, 4) or (dims == 4 and components > 1):
        raise BadImageError(
            f"{name}: expected two or three spatial axes and maybe channels, got the size {size} and {components} "
            f"component(s) a voxel"
        )
    channels = size[3] if dims == 4 else components
    return header_on_grid(_affine(reader, dims), (*size[:3], 1)[:3], name, channels)


def _affine(reader: Any, dims: int) -> npt.NDArray[np.float64]:
    spatial = min(dims, 3)
    directions = np.array(reader.GetDirection(), dtype=np.float64).reshape(dims, dims)
    lps = np.eye(4)
    lps[:spatial, :spatial] = directions[:spatial, :spatial] * np.array(reader.GetSpacing()[:spatial])
    lps[:spatial, 3] = reader.GetOrigin()[:spatial]
    affine: npt.NDArray[np.float64] = _LPS_TO_RAS @ lps
    return affine


def _voxels(reader: Any, header: Header, path: Path) -> npt.NDArray[Any]:
    try:
        image = reader.Execute()
        stored = sitk.GetArrayFromImage(image)
    except (RuntimeError, MemoryError) as error:
        raise BadImageError(f"{path}: damaged or truncated ({_reason(error)}); copy it again") from error
    if stored.dtype.kind not in "iuf":
        raise BadImageError(f"{path}: expected integer or real voxels, got {image.GetPixelIDTypeAsString()}")
    with np.errstate(over="ignore", invalid="ignore"):
        values = stored.astype(np.float32)
    # SimpleITK's arrays have the axes in reverse, components last
    if image.GetNumberOfComponentsPerPixel() > 1:
        values = np.moveaxis(values, -1, 0)
    return values.reshape(header.channels, *header.shape[::-1]).transpose(0, 3, 2, 1)


def _reason(error: BaseException) -> str:
    """The last line of ITK's text: the ones before name source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1]
