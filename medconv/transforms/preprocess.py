"""From a volume as it is stored to what the network sees, and the network's scores back to the volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from medconv.errors import BadImageError, ShapeError
from medconv.io.geometry import (
    reorient,
    reorient_geometry,
    reorient_shape,
    require_same_grid,
    resize_geometry,
    turned_view,
    undo_reorient,
)
from medconv.io.volume import Volume
from medconv.planning import Plan
from medconv.planning.nonzero import nonzero_box
from medconv.transforms.cropping import fill_background, keep, mask_where, put_back
from medconv.transforms.decide import decide
from medconv.transforms.instance_fields import instance_fields
from medconv.transforms.instance_labels import instance_labels
from medconv.transforms.named_labels import named_labels
from medconv.transforms.normalize import normalize
from medconv.transforms.normalize_tensor import can_normalize, normalize_tensor, turn_on_device
from medconv.transforms.record import Record
from medconv.transforms.resample import Rows, resample, resample_labels, resample_nearest, resample_rows
from medconv.transforms.stored import as_stored
from medconv.transforms.work_shape import shape_at_work
from medconv.types import Geometry

Stored = npt.NDArray[np.floating] | None


class Preprocessor:
    """Crop, turn, scale and resample volumes as a plan says, and bring class scores back to the stored grid.

    What was cropped off is background afterwards.
    Turning to ``plan.orientation`` only flips and permutes axes and is undone exactly. Axes whose spacing
    differs by more than 0.1 % are resampled linearly over the same field of view, coarser grids without
    aliasing; a volume that already has the plan's spacing passes unchanged. A point keeps its place in mm.

    Args:
        plan: Of the dataset the network is trained on.

    Shape:
        ``*S`` is the stored grid (three axes); ``*S'`` the network's: turned, resampled, and with two axes
        where ``plan.spatial_dims`` is 2.

    Example:
        >>> from medconv.io import volume_from_array
        >>> names = {0: "background", 1: "tumour"}
        >>> plan = Plan(3, ("T1",), names, (1.0, 1.0, 1.0), (8, 8, 8), ("zscore",))
        >>> prepare = Preprocessor(plan)
        >>> image, record = prepare.apply(volume_from_array(np.random.rand(10, 10, 5), (1.0, 1.0, 2.0)))
        >>> image.shape, prepare.restore(torch.zeros(2, *image.shape[1:]), record).shape
        (torch.Size([1, 10, 10, 10]), (10, 10, 5))
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def record(self, volume: Volume) -> Record:
        """What :meth:`apply` would do to a volume, from its geometry and the zeros around what it shows.

        Raises:
            BadImageError: Another number of channels, or several slices where the plan is 2-D.
            GeometryError: The plan's spacing would make the volume too large for memory.
        """
        record = self.record_of(volume.geometry, volume.shape, volume.channels, volume.name)
        box = nonzero_box(volume.data) if self.plan.crop_to_nonzero else None
        if box is None or box == tuple((0, size) for size in volume.shape):
            return record
        return self._at_work(replace(record, box=box))

    def record_of(self, geometry: Geometry, shape: Sequence[int], channels: int, name: str) -> Record:
        """As :meth:`record`, for a volume of which only the header was read, and in which nothing is cropped.

        Args:
            geometry: Of the volume.
            shape: ``*S`` as stored, three axes.
            channels: ``C``.
            name: What error messages call it.
        """
        plan, shape = self.plan, tuple(shape)
        if channels != plan.in_channels:
            raise BadImageError(
                f"{name}: expected {plan.in_channels} channel(s) ({', '.join(plan.channel_names)}), "
                f"got {channels}"
            )
        if plan.spatial_dims == 2 and shape[2] != 1:
            raise BadImageError(
                f"{name}: expected a single slice (X, Y, 1), because the plan is 2-D; got {shape}"
            )
        return self._at_work(Record(name, shape, geometry, shape, geometry))

    def _at_work(self, record: Record) -> Record:
        """The record with the grid of the network for what is kept."""
        turned = reorient_geometry(record.kept_geometry, record.kept_shape, self.plan.orientation)
        work_shape = shape_at_work(self.plan, self.turned_shape(record), turned, record.name)
        work_geometry = resize_geometry(turned, self.turned_shape(record), work_shape)
        return replace(record, work_shape=work_shape, work_geometry=work_geometry)

    def apply(self, volume: Volume, device: torch.device | None = None) -> tuple[Tensor, Record]:
        """Prepare an image.

        Args:
            volume: ``(C, *S)`` with as many channels as the plan.
            device: Where to turn, scale and resample it; ``None``: on the processor.

        Returns:
            ``(C, *S')`` float32 on the device, and what was done.

        Raises:
            BadImageError: Another number of channels, or several slices where the plan is 2-D.
            GeometryError: The plan's spacing would make the volume too large for memory.
        """
        record = self.record(volume)
        plan = self.plan
        volume = keep(volume, record)
        mask = mask_where(volume, plan.orientation) if plan.masked_normalization else None
        if device is None or device.type == "cpu" or not can_normalize(plan.normalization):
            data, _ = reorient(volume.data, volume.geometry, plan.orientation)
            image = torch.from_numpy(normalize(data, plan.normalization, plan.intensity, volume.name, mask))
            del data
        else:
            turned = turn_on_device(volume, plan.orientation, device)
            where = None if mask is None else torch.from_numpy(mask.copy()).to(device)
            image = normalize_tensor(turned, plan.normalization, plan.intensity, volume.name, where)
        return self._drop_slice_axis(
            resample(image if device is None else image.to(device), record.work_shape)
        ), record

    def apply_label(self, label: Volume, record: Record) -> Tensor:
        """Prepare the label map of an image; its values stay the same, but numbered objects become labels.

        Args:
            label: ``(1, *S)`` on the grid of the image.
            record: Of the image.

        Returns:
            ``(1, *S')``, uint8, or int16 for more than 256 labels; ignored voxels are ``plan.unknown_label``.

        Raises:
            BadImageError: A value the plan has no name for.
            GeometryError: The label lies on another grid than the image.
        """
        require_same_grid(record, label)
        label = keep(label, record)
        if self.plan.instances is not None:
            return self._label_objects(label, record)
        data, _ = reorient(named_labels(label, self.plan), label.geometry, self.plan.orientation)
        return self._drop_slice_axis(resample_labels(torch.from_numpy(data.copy()), record.work_shape))

    def _label_objects(self, label: Volume, record: Record) -> Tensor:
        data, _ = reorient(label.data, label.geometry, self.plan.orientation)
        objects = resample_nearest(data, record.work_shape)[0]
        assert self.plan.instances is not None
        if self.plan.spatial_dims == 2:
            objects = objects[..., 0]
        spacing_mm = record.work_geometry.spacing_mm[: self.plan.spatial_dims]
        return torch.from_numpy(instance_labels(objects, self.plan.instances, spacing_mm))[None]

    def restore(
        self, logits: Tensor, record: Record, probabilities: npt.NDArray[np.floating] | None = None
    ) -> npt.NDArray[np.unsignedinteger]:
        """The label of each stored voxel: scores resampled linearly, decided (``decide``), axes turned back.

        Args:
            logits: ``(K, *S')``, any floating type, on any device.
            record: Of the image.
            probabilities: ``(K, *S)`` of any floating type, filled with the probability of each class.

        Returns:
            ``(*S)`` of the smallest unsigned integer type.

        Raises:
            ShapeError: The logits are not on the grid of the record.

        Cost:
            Slab by slab, so the resampled scores never exist as a whole.
        """
        return self.restore_rows(self.rows_of(logits, record), record, None, probabilities)

    def restore_rows(
        self,
        rows: Rows,
        record: Record,
        slab_elements: int | None = None,
        probabilities: npt.NDArray[np.floating] | None = None,
    ) -> npt.NDArray[np.unsignedinteger]:
        """As :meth:`restore`, of scores whose rows are made when they are asked for.

        Args:
            rows: Rows ``start`` to ``stop`` along the first axis of the scores ``(K, *S')``.
            record: Of the image.
            slab_elements: About how many values are resampled at once.
            probabilities: ``(K, *S)`` of any floating type, filled with the probability of each class.
        """
        dtype = np.min_scalar_type(self.plan.num_labels - 1)
        labels = np.empty((1, *self.turned_shape(record)), dtype)
        fill_background(probabilities, record, is_exclusive=not self.plan.regions)
        filled = self._turned(probabilities, record)
        for place, scores in self._slabs(rows, record, slab_elements):
            found = decide(scores, self.plan.regions_class_order)  # a label crosses to the host as a byte
            labels[0, place] = (found.to(torch.uint8) if dtype == np.uint8 else found).cpu().numpy()
            self._fill(filled, place, scores)
        return put_back(undo_reorient(labels, record.geometry, self.plan.orientation), record)[0]

    def restore_fields(
        self,
        rows: Rows,
        record: Record,
        fields: npt.NDArray[np.floating],
        slab_elements: int | None = None,
        probabilities: npt.NDArray[np.floating] | None = None,
    ) -> None:
        """As :meth:`restore_rows`; what scores say about single objects, ``instance_fields``, fills ``(2, *S)``."""
        assert self.plan.instances is not None, "the plan speaks of labels, not of objects"
        if record.box is not None:
            fields[...] = 0  # no object lies where something was cropped off
        fill_background(probabilities, record, is_exclusive=not self.plan.regions)
        turned, filled = (self._turned(array, record) for array in (fields, probabilities))
        assert turned is not None
        for place, scores in self._slabs(rows, record, slab_elements):
            turned[:, place] = as_stored(instance_fields(scores, self.plan.instances), turned.dtype)
            self._fill(filled, place, scores)

    def restore_scores(self, logits: Tensor, record: Record) -> npt.NDArray[np.float32]:
        """The probability of each class in each stored voxel.

        Args:
            logits: ``(K, *S')``, any floating type, on any device.
            record: Of the image.

        Returns:
            ``(K, *S)`` float32; over classes it sums to 1, and its largest is that of :meth:`restore`. Regions
            have a probability each.

        Raises:
            ShapeError: The logits are not on the grid of the record.
        """
        probabilities = np.empty((self.plan.num_classes, *record.shape), np.float32)
        self.restore(logits, record, probabilities)
        return probabilities

    def turned_shape(self, record: Record) -> tuple[int, ...]:
        """``*S`` of what is kept of the stored grid, axes in the order in which the network sees them."""
        return reorient_shape(record.kept_shape, record.geometry, self.plan.orientation)

    def scores_shape(self, record: Record) -> tuple[int, ...]:
        """``(K, *S')`` of the scores, three spatial axes also in 2-D."""
        return (self.plan.num_classes, *record.work_shape)

    def _turned(self, array: Stored, record: Record) -> Stored:
        """The same memory, as far as it is kept, with the axes of the network."""
        if array is None:
            return None
        return turned_view(array[record.kept], record.geometry, self.plan.orientation)

    def _fill(self, filled: Stored, place: slice, scores: Tensor) -> None:
        if filled is not None:
            shares = scores.sigmoid() if self.plan.regions else scores.softmax(dim=0)
            filled[:, place] = as_stored(shares, filled.dtype)

    def rows_of(self, logits: Tensor, record: Record) -> Rows:
        """Rows of scores ``(K, *S')`` that exist as a whole.

        Raises:
            ShapeError: They are not on the grid of the record.
        """
        expected = self.scores_shape(record)[: 1 + self.plan.spatial_dims]
        if tuple(logits.shape) != expected:
            raise ShapeError(f"{record.name}: expected scores (K, *S') {expected}, got {tuple(logits.shape)}")
        volume = logits.detach().reshape(self.scores_shape(record))
        return lambda start, stop: volume[:, start:stop]

    def _slabs(self, rows: Rows, record: Record, slab_elements: int | None) -> Iterator[tuple[slice, Tensor]]:
        return resample_rows(rows, self.scores_shape(record), self.turned_shape(record), slab_elements)

    def _drop_slice_axis(self, x: Tensor) -> Tensor:
        return x.squeeze(-1) if self.plan.spatial_dims == 2 else x
