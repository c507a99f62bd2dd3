"""What a viewer shows: one channel of an image and label maps on its grid, made coarser where they are too large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError, ConfigError
from medconv.io import (
    Volume,
    read_image,
    reader_for,
    require_same_grid,
    stem_of,
    volume_from_array,
    volume_from_nibabel,
)
from medconv.io.nifti.label_values import to_labels
from medconv.io.readers import read_label_names
from medconv.reporting.size_text import size_text
from medconv.types import FloatArray, Geometry, LengthUnit

MAX_VOXELS = 2**26
"""512 × 512 × 256: what a browser shows with ease; it needs 4 bytes of GPU memory a voxel and volume."""

MAX_LABELS = 1000
"""More values than this and a file is no label map."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Layer:
    """One label map: where its labels lie, and what they are called.

    Args:
        name: What the page calls it.
        ranks: ``(X, Y, Z)``; 0 background, else the place in ``labels``, counted from 1.
        labels: The values that occur, ascending, 0 left out.
        names: Name of each.
        sizes: Of each, in words, counted on the whole grid.
    """

    name: str
    ranks: Array
    labels: tuple[int, ...]
    names: tuple[str, ...]
    sizes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Study:
    """An image and its layers on one grid.

    Args:
        name: Of the image.
        image: ``(X, Y, Z)`` float32.
        affine: ``(4, 4)``, voxel index to mm, or to pixels where ``unit`` is ``"px"``.
        layers: Label maps.
        notes: What the page should say about them.
        unit: Of ``affine``.
    """

    name: str
    image: npt.NDArray[np.float32]
    affine: FloatArray
    layers: tuple[Layer, ...]
    notes: tuple[str, ...] = ()
    unit: LengthUnit = "mm"


def to_study(
    image: Any,
    masks: Sequence[Any] = (),
    label_names: Mapping[int, str] | None = None,
    spacing_mm: Sequence[float] | None = None,
    channel: int = 0,
) -> Study:
    """Read an image and its masks.

    Args:
        image: A path, a nibabel image, a ``Volume``, or an array with ``spacing_mm``.
        masks: Paths, nibabel images, or integer arrays, all on the grid of the image.
        label_names: Name by value; where it is silent, what a file itself says, else the value.
        spacing_mm: Voxel edge lengths of an array.
        channel: Which channel of the image.

    Raises:
        BadImageError: A file that cannot be read, or a mask that is no label map.
        GeometryError: A mask on another grid.
        ConfigError: A channel that is not there, or an array without spacing.
    """
    volume = _volume(image, spacing_mm)
    if not 0 <= channel < volume.channels:
        raise ConfigError(f"{volume.name}: expected a channel from 0 to {volume.channels - 1}, got {channel}")
    layers = [
        _layer(mask, called, volume, label_names or {})
        for mask, called in zip(masks, _mask_names(masks), strict=True)
    ]
    notes = (f"channel {channel} of {volume.channels}",) if volume.channels > 1 else ()
    name = stem_of(volume.path) if volume.path else "image"
    data = np.ascontiguousarray(volume.data[channel], dtype=np.float32)
    affine, unit = _shown_affine(volume.geometry), volume.geometry.unit
    return Study(name, data, affine, tuple(layers), notes, unit)


def made_to_fit(study: Study, max_voxels: int = MAX_VOXELS, downsample: bool = False) -> Study:
    """The study itself, or a coarser one if it has more voxels than a page should carry.

    The axes with the finest voxels are halved until the grid fits: the image by averages, labels by the voxel
    nearest to the centre, so that no new values appear. Volumes in ml stay those of the full grid.

    Raises:
        ConfigError: It is too large and may not be made coarser.
    """
    factors = _factors(study.image.shape, study.affine, max_voxels)
    if prod(factors) == 1:
        return study
    shape = " × ".join(map(str, study.image.shape))
    if not downsample:
        raise ConfigError(
            f"{study.name}: {shape} voxels are more than the {max_voxels:,} that a browser shows with ease; "
            "show it coarser (--downsample, in Python downsample=True) or raise the limit (--max-voxels N, "
            "max_voxels=N)"
        )
    image = _block_means(study.image, factors)
    layers = [replace(layer, ranks=_block_centres(layer.ranks, factors)) for layer in study.layers]
    new_from_old = np.diag([*factors, 1.0])
    new_from_old[:3, 3] = (np.array(factors) - 1) / 2
    coarse = " × ".join(map(str, image.shape))
    note = f"shown at {coarse} of {shape} voxels; volumes are those of all voxels"
    affine, notes = study.affine @ new_from_old, (*study.notes, note)
    return replace(study, image=image, affine=affine, layers=tuple(layers), notes=notes)


def _volume(image: Any, spacing_mm: Sequence[float] | None) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, str | Path):
        return read_image([image])
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        return volume_from_nibabel(image)
    if spacing_mm is None:
        raise ConfigError(
            "expected a path, a nibabel image, or an array with spacing_mm=(…), got "
            f"{type(image).__name__} without it"
        )
    return volume_from_array(image, spacing_mm)


def _mask_names(masks: Sequence[Any]) -> list[str]:
    """What masks are called: files by their name, with their folder where two share it."""
    paths = [Path(mask) if isinstance(mask, str | Path) else None for mask in masks]
    stems = [stem_of(path) if path else f"mask {number}" for number, path in enumerate(paths, start=1)]
    return [
        f"{path.resolve().parent.name}/{stem}" if path and stems.count(stem) > 1 else stem
        for path, stem in zip(paths, stems, strict=True)
    ]


def _layer(mask: Any, called: str, image: Volume, names: Mapping[int, str]) -> Layer:
    own: Mapping[int, str] = {}
    if isinstance(mask, str | Path):
        labels = reader_for(mask).read_labels(mask, like=image).data[0]
        own = _names_in(mask)
    elif hasattr(mask, "dataobj") and hasattr(mask, "affine"):
        volume = volume_from_nibabel(mask, channels=1)
        require_same_grid(image, volume)
        labels = to_labels(volume.data[0], called)
    else:
        labels = to_labels(np.asarray(mask), called)
        if labels.shape not in (image.shape, image.shape[: 2 + (image.shape[2] > 1)]):
            raise BadImageError(f"{called}: expected labels of shape {image.shape}, got {labels.shape}")
        labels = labels.reshape(image.shape)
    values, counts = np.unique(labels, return_counts=True)
    present = values > 0
    if present.sum() > MAX_LABELS:
        raise BadImageError(
            f"{called}: expected at most {MAX_LABELS} labels, got {present.sum()}; is this an image?"
        )
    found = [int(value) for value in values[present]]
    ranks = np.searchsorted(np.array([0, *found]), labels)
    return Layer(
        called,
        ranks.astype(np.uint8 if len(found) < 256 else np.uint16),
        tuple(found),
        tuple(str(names.get(value, own.get(value, f"label {value}"))) for value in found),
        tuple(size_text(int(count), image.geometry) for count in counts[present]),
    )


def _names_in(path: str | Path) -> Mapping[int, str]:
    return read_label_names(path)


def _shown_affine(geometry: Geometry) -> FloatArray:
    """A single image is shown as thick as its pixels are wide: nobody knows how thick it is."""
    affine = geometry.affine.copy()
    if not geometry.has_thickness:
        affine[:3, 2] *= geometry.spacing_mm[0] / geometry.spacing_mm[2]
    return affine


def _factors(shape: Sequence[int], affine: FloatArray, max_voxels: int) -> list[int]:
    if max_voxels < 1:
        raise ConfigError(f"expected max_voxels from 1, got {max_voxels}")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = [1, 1, 1]
    while prod(-(-size // factor) for size, factor in zip(shape, factors, strict=True)) > max_voxels:
        halvable = [axis for axis in range(3) if shape[axis] > factors[axis]]
        finest = min(spacing[axis] * factors[axis] for axis in halvable)
        for axis in halvable:
            factors[axis] *= 2 if spacing[axis] * factors[axis] <= 1.01 * finest else 1
    return factors


def _block_means(image: npt.NDArray[np.float32], factors: Sequence[int]) -> npt.NDArray[np.float32]:
    for axis, factor in enumerate(factors):
        starts = np.arange(0, image.shape[axis], factor)
        lengths = np.diff([*starts, image.shape[axis]]).reshape([-1 if a == axis else 1 for a in range(3)])
        sums = np.add.reduceat(image, starts, axis=axis, dtype=np.float32)
        image = (sums / lengths).astype(np.float32)
    return image


def _block_centres(ranks: Array, factors: Sequence[int]) -> Array:
    centres = [
        np.minimum(np.arange(0, size, factor) + factor // 2, size - 1)
        for size, factor in zip(ranks.shape, factors, strict=True)
    ]
    return ranks[np.ix_(*centres)]
