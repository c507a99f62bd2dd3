"""Which module opens files of which name; it is imported with the first of them."""

from __future__ import annotations

from pathlib import Path

from medconv.errors import BadImageError

TIFF_SUFFIXES = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
ZARR_SUFFIXES = (".ome.zarr", ".zarr")
RASTER_SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp")
JPEG_SUFFIXES = (".jpeg", ".jpg")
MODULES = {
    TIFF_SUFFIXES: "medconv.io.microscopy.tiff",
    ZARR_SUFFIXES: "medconv.io.microscopy.ome_zarr",
    RASTER_SUFFIXES: "medconv.io.microscopy.raster",
}


def module_of(path: Path) -> str:
    """The module that opens a file or, anywhere inside a folder ``.zarr``, an image of that.

    Raises:
        BadImageError: Another ending.
    """
    if in_zarr(path):
        return MODULES[ZARR_SUFFIXES]
    for suffixes, module in MODULES.items():
        if path.name.lower().endswith(suffixes):
            return module
    known = ", ".join(suffix for suffixes in MODULES for suffix in suffixes)
    raise BadImageError(f"{path}: expected a microscopy image ending in {known}; convert it first")


def is_microscopy(path: str | Path) -> bool:
    """Whether a name is that of a microscopy image.

    Example:
        >>> is_microscopy("cells.PNG"), is_microscopy("scan.nii.gz")
        (True, False)
    """
    path = Path(path)
    return in_zarr(path) or any(path.name.lower().endswith(suffixes) for suffixes in MODULES)


def in_zarr(path: Path) -> bool:
    """Whether a path is a folder ``.zarr`` or leads into one.

    Example:
        >>> in_zarr(Path("cells.ome.zarr/labels/nuclei")), in_zarr(Path("cells.tif"))
        (True, False)
    """
    return any(part.lower().endswith(".zarr") for part in path.parts)


def is_mask_pattern(path: Path) -> bool:
    """Whether a path is a pattern that stands for files with a mask of one object each.

    Example:
        >>> is_mask_pattern(Path("cell_1/masks/*.png")), is_mask_pattern(Path("cell_1/masks/a.png"))
        (True, False)
    """
    return "*" in path.name and is_microscopy(path)


def mask_files(pattern: Path) -> list[Path]:
    """The files that such a pattern stands for, by name; hidden ones are other programs' notes."""
    if not pattern.parent.is_dir():
        return []
    return sorted(p for p in pattern.parent.glob(pattern.name) if p.is_file() and not p.name.startswith("."))
