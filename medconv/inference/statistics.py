"""What a mask says about each structure: how large, where, how bright, whether the image cuts it off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medconv.errors import ShapeError
from medconv.io import ImageLayout, Volume, read_image, reader_for
from medconv.types import FloatArray, Geometry


@dataclass(frozen=True)
class Structure:
    """One label of one mask.

    Args:
        label: Its value.
        name: Of the label.
        voxels: How many.
        volume_ml: Their volume, also where the edge of the image cuts the structure off; ``None`` where nobody knows
            how large or how thick a pixel is.
        mean_intensity: Of each channel of the image as it was read; empty for an absent structure.
        centroid_mm: Right, anterior, superior; empty for an absent structure, and where nobody knows how large a pixel
            is.
        touches_border: Whether a voxel lies on the edge of the image, so that the volume may be too small.
        mean_probability: How sure the networks were: the mean over its voxels of the probability of this label;
            ``None`` where probabilities were not kept or the structure is absent.
    """

    label: int
    name: str
    voxels: int
    volume_ml: float | None
    mean_intensity: tuple[float, ...]
    centroid_mm: tuple[float, ...]
    touches_border: bool
    mean_probability: float | None = None


def measure_structures(
    labels: npt.NDArray[np.integer],
    volume: Volume,
    label_names: Mapping[int, str],
    probabilities: npt.NDArray[np.floating] | None = None,
    regions_class_order: Sequence[int] = (),
) -> list[Structure]:
    """One row a label of ``label_names`` but the background, absent ones included.

    Args:
        labels: ``(*S)`` on the grid of ``volume``, no value above those of ``label_names``.
        volume: The image.
        label_names: Value to name, 0 the background.
        probabilities: ``(K, *S)`` for the mean probability.
        regions_class_order: The label that each of ``probabilities`` writes, where they are of regions: the mean
            probability of a label is then that of the last region that writes it, and that of a label that no
            region writes is ``None``. None: one channel a label.

    Raises:
        ShapeError: Another number of probabilities than of labels, or of regions.

    Cost:
        One pass; slice by slice, and only labelled voxels cost more than a comparison.

    Example:
        >>> from medconv.io import volume_from_array
        >>> volume = volume_from_array(np.full((4, 4, 4), 7.0), (1.0, 2.0, 5.0))
        >>> labels = np.zeros((4, 4, 4), np.uint8)
        >>> labels[1:3, 1:3, 3] = 1
        >>> measure_structures(labels, volume, {0: "background", 1: "tumour"})[0].volume_ml
        0.04
    """
    size = max(label_names) + 1
    channel_of = _channels(size, probabilities, regions_class_order)
    sums = _Sums(size, volume.channels, channel_of)
    for index, plane in enumerate(labels):
        values = plane.ravel()
        found = np.flatnonzero(values)
        if len(found):
            rows, columns = np.divmod(found, plane.shape[1])
            sums.add(index, values[found], rows, columns, volume.data[:, index], _plane(probabilities, index))
    border = _border_labels(labels)
    return [
        sums.structure(label, name, volume.geometry, label in border)
        for label, name in sorted(label_names.items())
        if label
    ]


def measure_mask(
    paths: Sequence[Path],
    mask: Path,
    label_names: Mapping[int, str],
    channels: int,
    layout: ImageLayout | None = None,
    *,
    has_objects: bool = False,
) -> list[Structure]:
    """As :func:`measure_structures`, of a mask that lies in a file already.

    Args:
        paths: Of the image.
        mask: Of the mask.
        label_names: Value to name.
        channels: Of the image.
        layout: What the user states about the image.
        has_objects: Whether the mask numbers objects, all of the one kind that has a name.

    Raises:
        BadImageError: A file cannot be read, or the mask has other labels.
        GeometryError: The mask lies on another grid.
    """
    volume = read_image(paths, channels=channels, layout=layout)
    allowed = None if has_objects else set(label_names)
    labels = reader_for(mask).read_labels(mask, allowed=allowed, like=volume).data[0]
    return measure_structures((labels > 0).view(np.uint8) if has_objects else labels, volume, label_names)


class _Sums:
    """What is added up of each label over all slices."""

    def __init__(self, size: int, channels: int, channel_of: npt.NDArray[np.intp]) -> None:
        self._size, self._channel_of = size, channel_of
        self._voxels = np.zeros(size, np.int64)
        self._indices = np.zeros((3, size))
        self._intensities = np.zeros((channels, size))
        self._probabilities: FloatArray | None = None

    def add(
        self,
        index: int,
        values: npt.NDArray[np.integer],
        rows: npt.NDArray[np.intp],
        columns: npt.NDArray[np.intp],
        image: npt.NDArray[np.float32],
        probabilities: npt.NDArray[np.floating] | None,
    ) -> None:
        """Count the labelled voxels of one slice in."""
        counts = np.bincount(values, minlength=self._size)
        self._voxels += counts
        self._indices += [counts * float(index), self._sum(values, rows), self._sum(values, columns)]
        self._intensities += [self._sum(values, channel[rows, columns]) for channel in image]
        if probabilities is not None:
            own = self._sum(values, probabilities[self._channel_of[values], rows, columns])
            self._probabilities = own if self._probabilities is None else self._probabilities + own

    def structure(self, label: int, name: str, geometry: Geometry, touches_border: bool) -> Structure:
        """What the sums say about one label."""
        n = int(self._voxels[label])
        volume_ml = None if geometry.voxel_ml is None else n * geometry.voxel_ml
        if not n:
            return Structure(label, name, 0, volume_ml, (), (), False)
        centroid = geometry.affine[:3] @ [*(self._indices[:, label] / n), 1.0]
        centroid_mm = tuple(float(v) for v in centroid) if geometry.unit == "mm" else ()
        sums = self._probabilities if self._channel_of[label] >= 0 else None
        sure = None if sums is None else float(sums[label] / n)
        intensities = tuple(float(v) for v in self._intensities[:, label] / n)
        return Structure(label, name, n, volume_ml, intensities, centroid_mm, touches_border, sure)

    def _sum(self, values: npt.NDArray[np.integer], weights: npt.NDArray[np.generic]) -> FloatArray:
        return np.bincount(values, weights, minlength=self._size).astype(np.float64, copy=False)


def _channels(
    size: int, probabilities: npt.NDArray[np.floating] | None, regions_class_order: Sequence[int]
) -> npt.NDArray[np.intp]:
    """The channel that says how sure each label is; -1: none does."""
    channel_of = np.full(size, -1) if regions_class_order else np.arange(size)
    for channel, label in enumerate(regions_class_order):
        channel_of[label] = channel
    expected = len(regions_class_order) or size
    if probabilities is not None and len(probabilities) != expected:
        kind = "regions" if regions_class_order else "labels"
        raise ShapeError(f"expected probabilities of {expected} {kind}, got {len(probabilities)}")
    return channel_of


def _plane(probabilities: npt.NDArray[np.floating] | None, index: int) -> npt.NDArray[np.floating] | None:
    return None if probabilities is None else probabilities[:, index]


def _border_labels(labels: npt.NDArray[np.integer]) -> set[int]:
    """Labels on the faces of the volume; an axis of one voxel has no faces, because all lies on them."""
    faces = [
        labels.take(end, axis) for axis, size in enumerate(labels.shape) if size > 1 for end in (0, size - 1)
    ]
    return {int(value) for face in faces for value in np.unique(face)}
