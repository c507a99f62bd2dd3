"""Which reader belongs to which file name, and the images of one case as one volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from medconv.errors import BadImageError, ConfigError
from medconv.io import nifti
from medconv.io.dicom import is_series_folder
from medconv.io.geometry import require_same_grid
from medconv.io.layout import AS_STORED, ImageLayout
from medconv.io.microscopy.formats import (
    RASTER_SUFFIXES,
    TIFF_SUFFIXES,
    ZARR_SUFFIXES,
    in_zarr,
    is_mask_pattern,
)
from medconv.io.nifti.file import SUFFIXES
from medconv.io.volume import Volume


@dataclass(frozen=True)
class Reader:
    """How files of one format are read.

    Args:
        name: Of the format.
        suffixes: Lower-case endings of file names, longest first; none for folders.
        module: Where ``read_header``, ``read_volume`` and ``read_labels`` of the format are. It is imported when
            a file is read, so that nobody waits for the library of a format that is not there.
        layout: What the user states about axes, channels and pixel size; ``None``: files of the format say it all.
    """

    name: str
    suffixes: tuple[str, ...]
    module: str
    layout: ImageLayout | None = None

    @property
    def read_header(self) -> Callable[..., nifti.Header]:
        """Shape and geometry without voxels."""
        return cast("Callable[..., nifti.Header]", self._function("read_header"))

    @property
    def read_volume(self) -> Callable[..., Volume]:
        """Images."""
        return cast("Callable[..., Volume]", self._function("read_volume"))

    @property
    def read_labels(self) -> Callable[..., Volume]:
        """Label maps."""
        return cast("Callable[..., Volume]", self._function("read_labels"))

    def _function(self, name: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(self.module), name)
        return function if self.layout is None else partial(function, layout=self.layout)


_MICROSCOPY = "medconv.io.microscopy"
RASTER = Reader("PNG, JPEG and BMP", RASTER_SUFFIXES, _MICROSCOPY, AS_STORED)
OME_ZARR = Reader("OME-Zarr", ZARR_SUFFIXES, _MICROSCOPY, AS_STORED)
OBJECT_MASKS = Reader("masks of single objects", (), f"{_MICROSCOPY}.object_masks", AS_STORED)
DICOM = Reader("DICOM series", (), "medconv.io.dicom.read")
READERS = (
    Reader("NIfTI", SUFFIXES, "medconv.io.nifti"),
    Reader("NRRD", (".nrrd", ".nhdr"), "medconv.io.itk"),
    Reader("MetaImage", (".mha", ".mhd"), "medconv.io.itk"),
    Reader("TIFF", TIFF_SUFFIXES, _MICROSCOPY, AS_STORED),
    OME_ZARR,
    RASTER,
)


@cache
def supported_suffixes() -> tuple[str, ...]:
    """Every ending of a file name that can be read.

    Example:
        >>> supported_suffixes()
        ('.nii.gz', '.nii', '.nrrd', '.nhdr', '.mha', '.mhd', '.ome.tiff', '.ome.tif', '.tiff', '.tif', '.ome.zarr',
         '.zarr', '.jpeg', '.jpg', '.png', '.bmp')
    """
    return tuple(suffix for reader in READERS for suffix in reader.suffixes)


def suffix_of(path: str | Path) -> str | None:
    """The supported ending of a file name, or ``None``.

    Example:
        >>> suffix_of("scan.v2.nii.gz"), suffix_of("cells.ome.tif"), suffix_of("scan.txt")
        ('.nii.gz', '.ome.tif', None)
    """
    name = Path(path).name
    return next((name[-len(s) :] for s in supported_suffixes() if name.lower().endswith(s)), None)


def stem_of(path: str | Path) -> str:
    """The file name without its supported ending.

    Example:
        >>> stem_of("folder/scan.v2.nii.gz")
        'scan.v2'
    """
    return Path(path).name.removesuffix(suffix_of(path) or "")


def is_named_volume(path: str | Path) -> bool:
    """Whether a path is called like something that can be read, be it there or not; a series of DICOM by its slices.

    Example:
        >>> is_named_volume("cells.ome.zarr/labels/nuclei"), is_named_volume("notes.txt")
        (True, False)
    """
    return suffix_of(path) is not None or in_zarr(Path(path)) or is_series_folder(Path(path))


def is_volume(path: str | Path) -> bool:
    """Whether a path is called like something that can be read, and there: a file, or a folder where that is needed."""
    path = Path(path)
    if path.is_dir():
        return in_zarr(path) or is_series_folder(path)
    return suffix_of(path) is not None and not in_zarr(path) and path.is_file()


def without_pictures(paths: Iterable[Path]) -> list[Path]:
    """Volumes of a folder without the pictures (PNG, JPEG, BMP) that somebody made of them.

    Where no file is a volume of a patient, pictures are what the folder is about.

    Example:
        >>> [path.name for path in without_pictures([Path("a.nii.gz"), Path("a.png")])]
        ['a.nii.gz']
        >>> [path.name for path in without_pictures([Path("a.tif"), Path("b.png")])]
        ['a.tif', 'b.png']
    """
    readers = {path: reader_for(path) for path in paths}
    has_patients = any(reader.layout is None for reader in readers.values())
    return [path for path, reader in readers.items() if not (has_patients and reader is RASTER)]


def reader_for(path: str | Path, layout: ImageLayout | None = None) -> Reader:
    """The reader of a file, chosen by its name, or of the DICOM series in a folder.

    Args:
        path: A file or folder.
        layout: What the user states about microscopy images.

    Raises:
        BadImageError: No reader knows the ending; the text lists those that exist.
        ConfigError: Something is stated about a file that says itself what its axes and sizes are.
    """
    reader = _by_name(Path(path))
    if layout is None or not layout.is_stated:
        return reader
    if reader.layout is None:
        raise ConfigError(
            f"{path}: axes, channel and pixel size are stated for microscopy images (TIFF, OME-Zarr, PNG, JPEG, BMP); "
            f"{reader.name} files say their own, leave them out"
        )
    return replace(reader, layout=layout)


def _by_name(path: Path) -> Reader:
    if is_series_folder(path):
        return DICOM
    if in_zarr(path):
        return OME_ZARR
    if is_mask_pattern(path):
        return OBJECT_MASKS
    suffix = (suffix_of(path) or "").lower()
    for reader in READERS:
        if suffix in reader.suffixes:
            return reader
    raise BadImageError(
        f"{path}: expected a file ending in {', '.join(supported_suffixes())}, or a folder with a DICOM series; "
        f"convert it to one of these first"
    )


def read_label_names(path: str | Path) -> dict[int, str]:
    """The names that a label file gives its labels; empty where it gives none, or its format has no place for them.

    Raises:
        BadImageError: The file cannot be read.
    """
    path = Path(path)
    read = getattr(import_module(reader_for(path).module), "read_label_names", None)
    return {} if read is None else cast("dict[int, str]", read(path))


def read_image(
    paths: Sequence[str | Path], *, channels: int | None = None, layout: ImageLayout | None = None
) -> Volume:
    """Read one case: one file, or one file a channel, which must lie on the same grid.

    Args:
        paths: One file with all channels, or several with one channel each, in order.
        channels: How many channels the case must have; ``None`` takes what comes.
        layout: What the user states about axes, channels and pixel size of microscopy images.

    Raises:
        BadImageError: A file is unusable or the number of channels is another one.
        GeometryError: An affine is unusable, or two files lie on different grids.
    """
    if len(paths) == 1:
        return reader_for(paths[0], layout).read_volume(paths[0], channels=channels)
    if not paths or (channels is not None and len(paths) != channels):
        raise BadImageError(
            f"expected {channels or 'at least one'} image file(s) for the case, got {len(paths)}: "
            f"{', '.join(map(str, paths))}; give one file per channel"
        )
    volumes = [reader_for(path, layout).read_volume(path, channels=1) for path in paths]
    for other in volumes[1:]:
        require_same_grid(volumes[0], other)
    return replace(volumes[0], data=np.concatenate([volume.data for volume in volumes]))
