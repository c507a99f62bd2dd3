"""Label maps and scores as TIFF that ImageJ opens to scale, and as OME-TIFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from medconv.io.microscopy.grid import in_um
from medconv.io.microscopy.tiff_names import names_as_text
from medconv.io.volume import Volume

_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
_IMAGEJ_LARGEST_BYTES = 2**32 - 2**25
"""ImageJ's own format has no 64-bit offsets; some room for tags."""
_QUICK = 1
"""Level of zlib: higher ones save a few per cent and cost several times the time."""
_SMALL_BYTES = 2**21
"""Up to here starting threads takes longer than what they do: 1.5 ms, where 2**19 bytes are compressed in 0.9 ms."""


def write_planes(
    path: Path, values: npt.NDArray[Any], like: Volume, names: Mapping[int, str], *, as_shares: bool = False
) -> None:
    """Write ``(C, Y, X, Z)``, plane by plane.

    Args:
        path: The file; OME-TIFF where the name, the type or the size asks for it, else ImageJ's.
        values: Labels, or numbers from 0 to 1.
        like: The image that gives the pixel size.
        names: Of labels.
        as_shares: Whether to write float32 from 0 to 1.
    """
    channels, rows, columns, slices = values.shape
    dtype = np.dtype(np.float32) if as_shares else values.dtype
    size_bytes = values.size * dtype.itemsize
    lengths = {"Z": slices, "C": channels}
    axes = "".join(axis for axis, length in lengths.items() if length > 1) + "YX"
    is_ome = (
        ".ome." in path.name.lower() or dtype.type not in _IMAGEJ_TYPES or size_bytes > _IMAGEJ_LARGEST_BYTES
    )
    sizes = _sizes_um(like)
    said = names_as_text(names)
    tifffile.imwrite(
        path,
        _planes(values, dtype, as_shares),
        shape=(*(length for length in lengths.values() if length > 1), rows, columns),
        dtype=dtype,
        ome=is_ome,
        imagej=not is_ome,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": _QUICK},
        maxworkers=1 if size_bytes <= _SMALL_BYTES else None,
        resolution=(1 / sizes["X"], 1 / sizes["Y"]) if sizes else None,
        metadata=_ome(axes, sizes, said) if is_ome else _imagej(axes, sizes, said),
    )


def _planes(values: npt.NDArray[Any], dtype: np.dtype[Any], as_shares: bool) -> Iterator[npt.NDArray[Any]]:
    for index in range(values.shape[-1]):
        for channel in values:
            plane = channel[..., index].astype(dtype)
            yield np.clip(plane, 0, 1) if as_shares else np.ascontiguousarray(plane)


def _sizes_um(like: Volume) -> dict[str, float]:
    if like.geometry.unit == "px":
        return {}
    return {axis: in_um(size) for axis, size in zip("YXZ", like.geometry.spacing_mm, strict=True)}


def _imagej(axes: str, sizes: Mapping[str, float], said: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes, "unit": "um" if sizes else "pixel"}
    if sizes and "Z" in axes:
        metadata["spacing"] = sizes["Z"]
    return {**metadata, "Info": said} if said else metadata


def _ome(axes: str, sizes: Mapping[str, float], said: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": axes}
    for axis, size in sizes.items():
        if axis in axes:
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    return {**metadata, "Description": said} if said else metadata
