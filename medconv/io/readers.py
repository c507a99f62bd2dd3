"""Which reader belongs to which file name, and the images of one case as one volume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import cast

import numpy as np

from medconv.errors import BadImageError
from medconv.io import nifti
from medconv.io.dicom import is_series_folder
from medconv.io.geometry import require_same_grid
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
    """

    name: str
    suffixes: tuple[str, ...]
    module: str

    @property
    def read_header(self) -> Callable[..., nifti.Header]:
        """Shape and geometry without voxels."""
        return cast("Callable[..., nifti.Header]", import_module(self.module).read_header)

    @property
    def read_volume(self) -> Callable[..., Volume]:
        """Images."""
        return cast("Callable[..., Volume]", import_module(self.module).read_volume)

    @property
    def read_labels(self) -> Callable[..., Volume]:
        """Label maps."""
        return cast("Callable[..., Volume]", import_module(self.module).read_labels)


DICOM = Reader("DICOM series", (), "medconv.io.dicom.read")
READERS = (
    Reader("NIfTI", SUFFIXES, "medconv.io.nifti"),
    Reader("NRRD", (".nrrd", ".nhdr"), "medconv.io.itk"),
    Reader("MetaImage", (".mha", ".mhd"), "medconv.io.itk"),
)

_MICROSCOPY = "medconv.io.microscopy"


def supported_suffixes() -> tuple[str, ...]:
    """Every ending of a file name that can be read.

    Example:
        >>> supported_suffixes()
        ('.nii.gz', '.nii', '.nrrd', '.nhdr', '.mha', '.mhd')
    """
    return tuple(suffix for reader in READERS for suffix in reader.suffixes)


def suffix_of(path: str | Path) -> str | None:
    """The supported ending of a file name, or ``None``.

    Example:
        >>> suffix_of("scan.v2.nii.gz"), suffix_of("scan.png")
        ('.nii.gz', None)
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


def reader_for(path: str | Path) -> Reader:
    """The reader of a file, chosen by its name, or of the DICOM series in a folder.

    Raises:
        BadImageError: No reader knows the ending; the text lists those that exist.
    """
    if is_series_folder(Path(path)):
        return DICOM
    suffix = (suffix_of(path) or "").lower()
    for reader in READERS:
        if suffix in reader.suffixes:
            return reader
    raise BadImageError(
        f"{path}: expected a file ending in {', '.join(supported_suffixes())}, or a folder with a DICOM series; "
        f"convert it to one of these first"
    )


def is_microscopy(path: str | Path) -> bool:
    """Whether a file is read as a microscopy image, by its name.

    Example:
        >>> is_microscopy("cells.nii.gz")
        False
    """
    suffix = (suffix_of(path) or "").lower()
    return any(suffix in r.suffixes and r.module.startswith(_MICROSCOPY) for r in READERS)


def read_image(paths: Sequence[str | Path], *, channels: int | None = None) -> Volume:
    """Read one case: one file, or one file a channel, which must lie on the same grid.

    Args:
        paths: One file with all channels, or several with one channel each, in order.
        channels: How many channels the case must have; ``None`` takes what comes.

    Raises:
        BadImageError: A file is unusable or the number of channels is another one.
        GeometryError: An affine is unusable, or two files lie on different grids.
    """
    if len(paths) == 1:
        return reader_for(paths[0]).read_volume(paths[0], channels=channels)
    if not paths or (channels is not None and len(paths) != channels):
        raise BadImageError(
            f"expected {channels or 'at least one'} image file(s) for the case, got {len(paths)}: "
            f"{', '.join(map(str, paths))}; give one file per channel"
        )
    volumes = [reader_for(path).read_volume(path, channels=1) for path in paths]
    for other in volumes[1:]:
        require_same_grid(volumes[0], other)
    return replace(volumes[0], data=np.concatenate([volume.data for volume in volumes]))
