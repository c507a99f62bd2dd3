"""Label values: whole, not negative, declared, and stored as small as they fit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import VoxelValueError
from medconv.io.geometry import require_same_grid
from medconv.io.volume import Volume

_WHOLE_TOLERANCE = 1e-3
_SHOWN = 10


def as_label_map(volume: Volume, allowed: Collection[int] | None, like: Volume | None) -> Volume:
    """A volume whose voxels are label values, on the grid of ``like`` where that is given.

    Raises:
        VoxelValueError: As for ``to_labels``.
        GeometryError: The grids differ.
    """
    if like is not None:
        require_same_grid(like, volume)
    labels = to_labels(volume.data, volume.name, allowed)
    return Volume(labels, volume.geometry, volume.header, volume.path)


def to_labels(
    values: npt.NDArray[Any], name: str, allowed: Collection[int] | None = None
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The same values in the smallest unsigned integer type that holds them and everything allowed.

    Args:
        values: Any integer or real array; real ones must be within 0.001 of whole numbers.
        name: How errors call the file.
        allowed: Every value that may occur; ``None`` allows all.

    Raises:
        VoxelValueError: Values that are not whole, negative, too large or not allowed; with the values.

    Example:
        >>> to_labels(np.array([0.0, 2.0]), "a.nii.gz").dtype
        dtype('uint8')
    """
    whole = values if values.dtype.kind in "iu" else _to_whole(values, name)
    least, most = int(whole.min()), int(whole.max())
    if least < 0 or most > np.iinfo(np.uint32).max:
        raise VoxelValueError(
            f"{name}: expected labels from 0 to 2^32 - 1, got {least} to {most}; is this a label map?"
        )
    labels = whole.astype(smallest_dtype(max(most, *allowed) if allowed else most))
    # where all values up to the largest are allowed, no voxel need be looked at
    if allowed is not None and not set(allowed).issuperset(range(most + 1)):
        _check_allowed(labels, name, allowed)
    return labels


def smallest_dtype(largest: int) -> np.dtype[Any]:
    """The smallest of uint8, uint16 and uint32 that holds ``largest``."""
    return np.min_scalar_type(largest)


def _to_whole(values: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    finite = np.isfinite(values)
    if not finite.all():
        raise VoxelValueError(
            f"{name}: expected whole label values, got {int((~finite).sum())} that are NaN or infinite; "
            f"set them to the label they should be and save the file again"
        )
    whole = np.rint(values)
    broken = np.abs(values - whole) > _WHOLE_TOLERANCE
    if broken.any():
        examples = ", ".join(f"{value:.4g}" for value in np.unique(values[broken])[:_SHOWN])
        raise VoxelValueError(
            f"{name}: expected whole label values, got {int(broken.sum())} voxels that are not "
            f"({examples}); labels must "
            f"be resampled with nearest neighbour, and an intensity image is no label map"
        )
    return whole


def _check_allowed(labels: npt.NDArray[Any], name: str, allowed: Collection[int]) -> None:
    unknown = labels[~np.isin(labels, sorted(allowed))]
    if unknown.size:
        values, counts = np.unique(unknown, return_counts=True)
        listed = ", ".join(f"{v} ({n:,} voxels)" for v, n in list(zip(values, counts, strict=True))[:_SHOWN])
        more = f" and {len(values) - _SHOWN} more values" if len(values) > _SHOWN else ""
        raise VoxelValueError(
            f"{name}: expected only the labels {sorted(allowed)}, got also {listed}{more}; declare them "
            f"in the "
            f"dataset, or correct the file"
        )
