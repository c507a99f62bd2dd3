"""Where training patches lie, with a fair share for the foreground; pure functions of a numpy generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import ShapeError

Array = npt.NDArray[Any]
Locations = Mapping[int, Array]
"""For each foreground class that is present: voxel indices ``(n, d)``."""


def find_locations(label: Array, num_classes: int, max_per_class: int = 10_000) -> dict[int, Array]:
    """Where each foreground class lies; a fixed random subset where it is large.

    Found once and stored, so that drawing a patch never searches the volume.

    Args:
        label: ``(1, *S)`` integers.
        num_classes: ``K``, background included.
        max_per_class: Voxels kept of each class.

    Returns:
        For each class from 1 on that is present: ``(n, d)`` int32 voxel indices, ``n ≤ max_per_class``.

    Example:
        >>> find_locations(np.array([[[0, 2], [0, 0]]]), num_classes=3)
        {2: array([[0, 1]], dtype=int32)}
    """
    found = {}
    for value in range(1, num_classes):
        flat = np.flatnonzero(label[0] == value)
        if flat.size > max_per_class:
            flat = np.sort(np.random.default_rng(value).choice(flat, max_per_class, replace=False))
        if flat.size:
            found[value] = np.stack(np.unravel_index(flat, label.shape[1:]), axis=1).astype(np.int32)
    return found


def draw_start(
    shape: Sequence[int],
    patch_size: Sequence[int],
    rng: np.random.Generator,
    locations: Locations | None = None,
) -> list[int]:
    """First voxel of one random window; negative where the volume is smaller than the window.

    Without ``locations`` every position inside the volume is equally likely (a volume smaller than the window
    lies anywhere in it, whole). With them the window is centred, as far as the volume's edges allow, on a
    random voxel of a random class: every class present has the same chance, however small it is.

    Args:
        shape: ``*S``.
        patch_size: ``*P``.
        rng: The only source of chance.
        locations: From ``find_locations``; empty or ``None``: anywhere.

    Raises:
        ShapeError: Volume and window do not have the same spatial axes.
    """
    if len(patch_size) != len(shape):
        raise ShapeError(f"expected a patch of {len(shape)} axes, as the volume's; got {tuple(patch_size)}")
    if locations:
        return _centred_start(shape, patch_size, rng, locations)
    return _any_start(shape, patch_size, rng)


def cut(array: Array, start: Sequence[int], patch_size: Sequence[int]) -> Array:
    """The window of ``array (C, *S)`` that begins at ``start``; 0 where it reaches outside.

    Example:
        >>> cut(np.array([[1, 2, 3]]), start=[-1], patch_size=[3])
        array([[0, 1, 2]])
    """
    patch = np.zeros((array.shape[0], *patch_size), array.dtype)
    source, target = [slice(None)], [slice(None)]
    for begin, length, size in zip(start, patch_size, array.shape[1:], strict=True):
        low, high = max(begin, 0), max(begin, 0, min(begin + length, size))
        source.append(slice(low, high))
        target.append(slice(low - begin, high - begin))
    patch[tuple(target)] = array[tuple(source)]
    return patch


def _any_start(shape: Sequence[int], patch_size: Sequence[int], rng: np.random.Generator) -> list[int]:
    room = np.subtract(shape, patch_size)
    return [int(n) for n in rng.integers(np.minimum(room, 0), np.maximum(room, 0), endpoint=True)]


def _centred_start(
    shape: Sequence[int], patch_size: Sequence[int], rng: np.random.Generator, locations: Locations
) -> list[int]:
    classes = sorted(locations)
    voxels = locations[classes[int(rng.integers(len(classes)))]]
    voxel = voxels[int(rng.integers(len(voxels)))]
    room = np.subtract(shape, patch_size)
    start = np.clip(voxel - np.asarray(patch_size) // 2, np.minimum(room, 0), np.maximum(room, 0))
    return [int(n) for n in start]
