"""Whether a file is still the one that it was, without reading it."""

from __future__ import annotations

from pathlib import Path

from medconv.io.microscopy.formats import in_zarr, is_mask_pattern, mask_files


def file_state(path: Path | None) -> list[str | int] | None:
    """Path, size and time of change, of each slice of a series; a missing file has none, reading it tells more.

    Args:
        path: Of an image or a label map, which may be a folder or a pattern of files.

    Example:
        >>> file_state(Path("no such file.nii.gz")) is None
        True
    """
    masks = mask_files(path) if path is not None and is_mask_pattern(path) else []
    if path is None or not (masks or path.exists()):
        return None
    files = sorted(path.rglob("*") if in_zarr(path) else path.iterdir()) if path.is_dir() else masks or [path]
    states = [(file.name, file.stat()) for file in files]
    return [str(path.resolve()), *(part for n, s in states for part in (n, s.st_size, s.st_mtime_ns))]
