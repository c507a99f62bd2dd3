"""Read microscopy images and label maps of any of the formats into volumes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError
from medconv.io.geometry import require_same_grid
from medconv.io.layout import AS_STORED, ImageLayout
from medconv.io.microscopy.axes import Arrangement, arrange
from medconv.io.microscopy.colours import channels_of, label_values, refuse_transparency
from medconv.io.microscopy.formats import in_zarr, module_of
from medconv.io.microscopy.grid import header_of_picture
from medconv.io.microscopy.picture import Picture
from medconv.io.nifti.header import MAX_VOXELS, Header
from medconv.io.nifti.label_values import to_labels
from medconv.io.nifti.read import require_finite
from medconv.io.volume import Volume


def read_header(path: str | Path, *, layout: ImageLayout = AS_STORED) -> Header:
    """Shape, channels and geometry of an image, without decoding a pixel.

    Args:
        path: ``.png``, ``.jpg``, ``.jpeg``, ``.bmp``, ``.tif``, ``.tiff`` (``.ome.tif`` …) or a folder ``.zarr``.
        layout: What the user states about axes, channels and pixel size.

    Raises:
        BadImageError: The file is unusable, or nobody says what its axes are.
    """
    picture = open_picture(path)
    arrangement = arrange(picture, layout)
    chosen = channels_of(picture, arrangement, layout)
    return header_of_picture(picture, arrangement.spatial, len(chosen), layout)


def read_volume(
    path: str | Path,
    *,
    channels: int | None = None,
    max_voxels: int = MAX_VOXELS,
    layout: ImageLayout = AS_STORED,
) -> Volume:
    """Read an image as ``(C, Y, X, Z)`` float32: rows, columns, slices; intensities as they are stored.

    Args:
        path: See :func:`read_header`.
        channels: How many channels the image must have; ``None`` takes what comes.
        max_voxels: Largest number of pixels × channels that is read.
        layout: What the user states about axes, channels and pixel size.

    Raises:
        BadImageError: Absent, damaged, truncated, too large, with another number of channels, axes that nobody says,
            transparent pixels, or pixels that are NaN or infinite.

    Warns:
        UserWarning: The stated pixel size contradicts the file, is known for some axes only, or low values are bright.

    Cost:
        One copy as stored and one in float32; OME-Zarr is read by chunks.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from PIL import Image
        >>> with TemporaryDirectory() as folder:
        ...     Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(f"{folder}/cells.png")
        ...     image = read_volume(f"{folder}/cells.png")
        >>> image.data.shape, image.geometry.unit
        ((1, 3, 4, 1), 'px')
    """
    picture = open_picture(path)
    arrangement = arrange(picture, layout)
    chosen = channels_of(picture, arrangement, layout)
    header = header_of_picture(picture, arrangement.spatial, len(chosen), layout, tell=True)
    _check_channels(picture, len(chosen), channels)
    _check_fits(picture, max_voxels)
    for remark in picture.remarks:
        warnings.warn(remark, stacklevel=2)
    stored = picture.load()
    refuse_transparency(picture, arrangement, stored, layout)
    data = _as_float(picture, stored, arrangement, chosen)
    return Volume(require_finite(data, picture.name), header.geometry, header.raw, picture.path)


def read_labels(
    path: str | Path,
    *,
    allowed: Collection[int] | None = None,
    like: Volume | None = None,
    max_voxels: int = MAX_VOXELS,
    layout: ImageLayout = AS_STORED,
) -> Volume:
    """Read a label map as ``(1, Y, X, Z)`` of the smallest unsigned integer type.

    One-bit masks are 0 and 1. So are masks of 0 and 255 (65 535), if 255 is not allowed. Of a palette the number
    counts, not the colour.

    Args:
        path: See :func:`read_header`.
        allowed: Every value that may occur; ``None`` allows all.
        like: The image on whose grid the labels must lie; its pixel size counts where the labels say none.
        max_voxels: Largest number of pixels that is read.
        layout: What the user states; channels do not count.

    Raises:
        BadImageError: As for :func:`read_volume`, or colours, or values that are negative, not whole or not allowed.
        GeometryError: The grid is not that of ``like``.

    Warns:
        UserWarning: A mask of 0 and 255 was taken for 0 and 1, or pixels of a grey mask stood in several channels.
    """
    picture, layout = _open(path, "open_labels"), layout.of_labels()
    arrangement = arrange(picture, layout)
    header = header_of_picture(picture, arrangement.spatial, 1, layout)
    _check_fits(picture, max_voxels)
    if like is not None:
        require_same_grid(like, header)
    values = label_values(picture, arrangement, picture.load(), allowed)
    labels = to_labels(values, picture.name, allowed).transpose(1, 2, 0)[None]
    takes_size = like is not None and header.geometry.unit == "px"
    geometry = like.geometry if like is not None and takes_size else header.geometry
    return Volume(labels, geometry, header.raw, picture.path)


def read_label_names(path: str | Path) -> dict[int, str]:
    """The names that TIFF and OME-Zarr files of medconv give their labels; empty where there are none.

    Raises:
        BadImageError: Absent, of another type, or damaged.
    """
    return dict(_open(path, "open_labels").label_names)


def open_picture(path: str | Path) -> Picture:
    """Open an image, of whatever of the formats it is.

    Raises:
        BadImageError: Absent, of another type, or damaged.
    """
    return _open(path, "open_picture")


def _open(path: str | Path, how: str) -> Picture:
    path = Path(path)
    module = import_module(module_of(path))
    if not path.exists():
        raise BadImageError(f"{path}: no such file; check the path, relative ones start at {Path.cwd()}")
    if path.is_dir() and not in_zarr(path):
        raise BadImageError(f"{path}: expected an image file, got a folder; name a file in it")
    return cast(Picture, getattr(module, how, module.open_picture)(path))


def _check_channels(picture: Picture, found: int, wanted: int | None) -> None:
    if wanted is None or found == wanted:
        return
    remedy = (
        f"choose {'one of them' if wanted == 1 else f'{wanted} of them'} (--channel, such as --channel "
        f"{' '.join(map(str, range(wanted)))}), or take the right file"
        if found > wanted
        else "take the right file"
    )
    raise BadImageError(f"{picture.name}: expected {wanted} channel(s), got {found}; {remedy}")


def _check_fits(picture: Picture, max_voxels: int) -> None:
    voxels = math.prod(picture.shape)
    if voxels > max_voxels:
        raise BadImageError(
            f"{picture.name}: {picture.shape} = {voxels:,} values ({voxels * 4 / 2**30:,.1f} GiB as float32) are more "
            f"than max_voxels={max_voxels:,}; the file is corrupt, or raise max_voxels"
        )


def _as_float(
    picture: Picture, stored: Any, arrangement: Arrangement, chosen: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """``(C, Y, X, Z)``, in memory slice after slice as it is stored; one channel at a time."""
    rows, columns, slices = arrangement.spatial
    memory = np.empty((len(chosen), slices, rows, columns), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for target, channel in zip(memory, chosen, strict=True):
            values = arrangement.plane(stored, channel)
            target[...] = values if picture.palette is None else picture.palette[values, channel]
    return memory.transpose(0, 2, 3, 1)
