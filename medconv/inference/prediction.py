"""What a prediction is: labels on the grid of the volume they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.inference.byte_plan import BytePlan
from medconv.io import Volume, labels_to_nibabel, write_labels
from medconv.types import Geometry

Labels = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, eq=False)
class Prediction:
    """Labels for one volume, voxel by voxel on its own grid.

    Args:
        labels: ``(*S)`` as the input is stored, smallest unsigned integer type; a slice given as an array
            has two axes.
        volume: The input.
        label_names: Name of each label, 0 the background.
        seconds: Seconds spent per stage: read, preprocess, network, restore.
        notes: What the user should know about this case: unusual spacing, memory that ran short.
        probabilities: ``(K, *S)`` float16, the mean over networks, if they were asked for. They are rounded:
            where two classes are equal to four digits, ``labels`` decides. Regions have one each.
        byte_plan: How it was computed, and the memory that was planned for it.
        regions_class_order: The label that each of ``probabilities`` writes, where they are of regions; none:
            they are of classes.
        has_objects: Whether ``labels`` number single objects, 1, 2, 3 …, all of the one kind that ``label_names``
            has.
    """

    labels: Labels
    volume: Volume
    label_names: Mapping[int, str]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = field(default=())
    probabilities: npt.NDArray[np.floating] | None = None
    byte_plan: BytePlan | None = None
    regions_class_order: tuple[int, ...] = ()
    has_objects: bool = False

    @property
    def geometry(self) -> Geometry:
        """Where the voxels lie; the input's geometry."""
        return self.volume.geometry

    @property
    def class_labels(self) -> Labels:
        """The label of each voxel, ``(*S)``: values of ``label_names``, also where ``labels`` number objects."""
        return (self.labels > 0).view(np.uint8) if self.has_objects else self.labels

    @property
    def num_objects(self) -> int:
        """Objects that were found; 0 where ``labels`` are labels."""
        return int(self.labels.max(initial=0)) if self.has_objects else 0

    @property
    def volumes_ml(self) -> dict[str, float]:
        """Volume of each foreground class in millilitres; NaN where nobody knows how large or thick a pixel is."""
        voxel_ml = nan if self.geometry.voxel_ml is None else self.geometry.voxel_ml
        labels = self.class_labels
        return {name: int((labels == n).sum()) * voxel_ml for n, name in self.label_names.items() if n}

    def without_third_axis(self) -> Prediction:
        """The same for a slice that came as an array of two axes."""
        kept = self.probabilities
        return replace(self, labels=self.labels[..., 0], probabilities=None if kept is None else kept[..., 0])

    def save(self, path: str | Path) -> Path:
        """Write the labels in the format that the ending says, on the grid of the input; whole or not at all.

        NIfTI, or for microscopy images TIFF, PNG and OME-Zarr; see ``medconv.io.write_labels``.

        Raises:
            BadImageError: An ending that says no format, or one that cannot hold the labels.
            ConfigError: ``path`` is a file that the input was read from.
        """
        write_labels(path, self._on_volume(), like=self.volume, label_names=self._names)
        return Path(path)

    def to_nibabel(self) -> Any:
        """The labels as a nibabel image with the input's header."""
        return labels_to_nibabel(self._on_volume(), like=self.volume, label_names=self._names)

    @property
    def _names(self) -> Mapping[int, str] | None:
        """Of the values in ``labels``; numbers of objects have none."""
        return None if self.has_objects else self.label_names

    def _on_volume(self) -> Labels:
        return self.labels.reshape(self.volume.shape)
