"""From a volume to labels on its own grid: the object behind ``medconv predict`` and ``medconv.load``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from medconv.errors import ConfigError
from medconv.inference.byte_plan import BytePlan
from medconv.inference.case_plans import CasePlans, Compute
from medconv.inference.checkpoint import read_checkpoint
from medconv.inference.device import Precision, describe_setting, resolve_device, resolve_precision
from medconv.inference.engine import CaseEngine, CudaGraph, Member
from medconv.inference.ensemble import agreed_plan
from medconv.inference.postprocess import Postprocessing
from medconv.inference.prediction import Labels, Prediction
from medconv.inference.separation import Fields
from medconv.inference.spacious import spacious_array
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.tiles import Blend
from medconv.inference.turns import averaged_turns
from medconv.inference.undecided import Undecided, decide
from medconv.inference.volumes import spacing_note, to_volume
from medconv.inference.ways import usual_tile_batch
from medconv.io import ImageLayout, Volume
from medconv.planning import Plan, mirror_axes
from medconv.transforms import Preprocessor
from medconv.types import Geometry


class Predictor:
    """Networks with their plan, ready to label volumes.

    Several networks are an ensemble: the mean of their softmax probabilities decides. Networks and settings
    do not change between calls, so one predictor may be used from several threads.

    Args:
        networks: Trained networks, such as the folds of a cross-validation. They are moved to the device and
            set to evaluation.
        plans: The plan of each; they may differ in patch size only.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        overlap: Share by which neighbouring tiles overlap, 0 up to, but not including, 1.
        tile_batch: Tiles that pass a network together; ``None``: 4, more of small ones on a GPU.
        mirror: Average over mirrored copies too, 2 to 8 times slower; the left-right axis is left out where
            label names speak of sides.
        rotate: Average over quarter-turns too, within planes in which voxels and patch are square; with
            ``mirror`` over everything that both combine to.
        blend: ``"gaussian"``: a tile is trusted most at its centre; ``"crop"``: each voxel is taken from the
            tile with the nearest centre.
        precision: ``"auto"`` (bf16 or fp16 on CUDA, else fp32), ``"fp32"`` (slow: no TF32), ``"bf16"``, ``"fp16"``.
        memory_gb: GiB of main memory, and of the GPU's, that are used at the most; ``None``: what is free.
        postprocessing: What is done to the labels of each class; ``None``: nothing.
        cuda_graph: Record a pass over tiles on a GPU and replay it: the same numbers, sooner; ``"auto"``: small tiles.

    Raises:
        ConfigError: A setting outside its range, a device that is not there, or plans that contradict.

    Example:
        >>> class Threshold(nn.Module):
        ...     def forward(self, x):
        ...         return torch.cat([300 - x, x - 300], dim=1)
        >>> plan = Plan(3, ("CT",), {0: "background", 1: "bone"}, (1.0, 1.0, 2.0), (8, 8, 8), ("none",))
        >>> predictor = Predictor([Threshold()], [plan], device="cpu")
        >>> prediction = predictor.predict(torch.full((5, 5, 5), 500.0), spacing_mm=(1.0, 1.0, 2.0))
        >>> prediction.labels.shape, prediction.volumes_ml
        ((5, 5, 5), {'bone': 0.25})
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        plans: Sequence[Plan],
        *,
        device: str | torch.device = "auto",
        overlap: float = 0.5,
        tile_batch: int | None = None,
        mirror: bool = False,
        rotate: bool = False,
        blend: Blend = "gaussian",
        precision: Precision = "auto",
        memory_gb: float | None = None,
        postprocessing: Postprocessing | None = None,
        cuda_graph: CudaGraph = "auto",
    ) -> None:
        if not 0 <= overlap < 1 or (tile_batch is not None and tile_batch < 1):
            wanted = "expected overlap from 0 up to, not including, 1 and tile_batch from 1"
            raise ConfigError(f"{wanted}; got overlap {overlap} and tile_batch {tile_batch}")
        self.plan = agreed_plan(plans)
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.tile_batch = tile_batch or min(usual_tile_batch(plan.patch_size, self.device) for plan in plans)
        self.overlap, self.memory_gb = overlap, memory_gb
        self.blend, self.rotate = blend, rotate
        self.postprocessing = postprocessing or Postprocessing()
        self.postprocessing.require_fit(self.plan)
        free_axes = mirror_axes(self.plan.orientation, self.plan.spatial_dims, self.plan.structure_names)
        self.mirrored_axes = free_axes if mirror else ()
        members = [
            Member(
                network,
                plan.patch_size,
                averaged_turns(plan, self.mirrored_axes, free_axes if rotate else None),
            )
            for network, plan in zip(networks, plans, strict=True)
        ]
        prepare = Preprocessor(self.plan)
        self.engine = CaseEngine(members, prepare, self.device, self.dtype, overlap, blend, cuda_graph)
        self._plans = CasePlans(self.engine, self.tile_batch, memory_gb, bool(self.postprocessing.rules))

    @classmethod
    def from_checkpoint(
        cls,
        *paths: str | Path,
        device: str | torch.device = "auto",
        overlap: float = 0.5,
        tile_batch: int | None = None,
        mirror: bool = False,
        rotate: bool = False,
        blend: Blend = "gaussian",
        precision: Precision = "auto",
        memory_gb: float | None = None,
        postprocessing: Postprocessing | None = None,
        cuda_graph: CudaGraph = "auto",
        allow: Sequence[str] = (),
    ) -> Predictor:
        """Read one checkpoint, or several as an ensemble, and get ready to label volumes.

        Args:
            paths: ``.ckpt`` files written by ``medconv fit``.
            device: See the class.
            overlap: See the class.
            tile_batch: See the class.
            mirror: See the class.
            rotate: See the class.
            blend: See the class.
            precision: See the class.
            memory_gb: See the class.
            postprocessing: See the class.
            cuda_graph: See the class.
            allow: Plug-in packages whose classes the checkpoints may consist of.

        Raises:
            CheckpointError: A file is damaged, foreign, unsafe or of a newer version.
            ConfigError: No path, a setting outside its range, or checkpoints that do not belong together.
        """
        checkpoints = [read_checkpoint(path, allow) for path in paths]
        return cls(
            [checkpoint.build() for checkpoint in checkpoints],
            [checkpoint.plan for checkpoint in checkpoints],
            device=device,
            overlap=overlap,
            tile_batch=tile_batch,
            mirror=mirror,
            rotate=rotate,
            blend=blend,
            precision=precision,
            memory_gb=memory_gb,
            postprocessing=postprocessing,
            cuda_graph=cuda_graph,
        )

    @property
    def setting(self) -> str:
        """Where and how it computes, in words: ``"cpu (2 threads), float32"``."""
        turns = max(len(member.turns) for member in self.engine.members)
        return describe_setting(self.device, self.dtype, self.mirrored_axes, turns)

    @property
    def label_names(self) -> dict[int, str]:
        """Name of each label, 0 the background; of single objects, what they are."""
        return dict(self.plan.declared.names)

    def predict(
        self,
        x: Any,
        *,
        spacing_mm: Sequence[float] | None = None,
        probabilities: bool = False,
        layout: ImageLayout | None = None,
    ) -> Prediction:
        """Label one volume on its own grid.

        Args:
            x: The path of a file or of a folder with a DICOM series; several paths, one a channel; a nibabel
                image; or an array ``(*S)`` or ``(C, *S)`` with ``spacing_mm``.
            spacing_mm: Voxel edge lengths of an array; files and images carry their own.
            probabilities: Keep the probability of every class too, ``2 K prod(S)`` bytes.
            layout: What you state about axes, channels and pixel size of microscopy files.

        Raises:
            BadImageError: A file cannot be read, or has another number of channels than the network.
            ConfigError: An array without spacing, or a spacing for something that has one.

        Warns:
            UserWarning: The spacing is far from training's, or memory ran short.
        """
        watch = Stopwatch()
        with watch.stage("read"):
            volume = to_volume(x, self.plan.in_channels, spacing_mm, layout)
        prediction = self.segment(volume, probabilities=probabilities)
        prediction = replace(prediction, seconds={**watch.seconds, **prediction.seconds})
        if spacing_mm is not None and len(spacing_mm) == 2:
            prediction = prediction.without_third_axis()
        for note in prediction.notes:
            warnings.warn(note, UserWarning, stacklevel=2)
        return prediction

    def segment(
        self,
        volume: Volume,
        *,
        probabilities: bool = False,
        probability_type: npt.DTypeLike = np.float16,
    ) -> Prediction:
        """Label a volume that has been read.

        Args:
            volume: With as many channels as the plan.
            probabilities: See :meth:`predict`.
            probability_type: ``float16`` rounds probabilities to three digits; ``float32`` takes twice the memory.

        Raises:
            MedconvError: It does not fit into memory in any way.
        """
        return self.decide(self.compute(volume, probability_type if probabilities else None))

    def compute(
        self, volume: Volume, kept_type: npt.DTypeLike | None = None, *, overlapped: bool = False
    ) -> Undecided:
        """What of :meth:`segment` needs the networks.

        Args:
            volume: See there.
            kept_type: Of the probabilities; ``None``: they are not kept.
            overlapped: Whether other cases are read and written meanwhile, which takes memory.
        """
        watch, classes = Stopwatch(self.device), self.plan.num_classes
        kept = None if kept_type is None else spacious_array((classes, *volume.shape), kept_type)
        compute: Compute[Labels | Fields] = self.engine.labels
        if self.plan.instances is not None:
            compute = partial(self.engine.fields, fields=spacious_array((2, *volume.shape), np.float16))
        said, plans = self._plans.compute(compute, volume, watch, kept, overlapped)
        notes = spacing_note(volume, self.plan)
        if len(plans) > 1:
            notes.append(f"{volume.name}: memory ran short; went on with {plans[-1].way.words}")
        return Undecided(said, volume, watch.seconds, tuple(notes), kept, plans[-1])

    def decide(self, case: Undecided) -> Prediction:
        """What of :meth:`segment` comes after :meth:`compute`, on the processor."""
        return decide(case, self.plan, self.postprocessing)

    def fields(self, volume: Volume) -> Fields:
        """What the networks say about single objects, ``(2, *S)`` float16, before they are told apart.

        Args:
            volume: With as many channels as the plan.

        Raises:
            ConfigError: The networks were taught labels, not objects.
            MedconvError: It does not fit into memory in any way.
        """
        if self.plan.instances is None:
            raise ConfigError("expected networks that were taught single objects, got some of labels")
        return cast(Fields, self.compute(volume).said)

    def byte_plan(
        self,
        geometry: Geometry,
        shape: Sequence[int],
        name: str = "the volume",
        *,
        probabilities: bool = False,
        overlapped: bool = False,
    ) -> BytePlan:
        """How a volume will be computed and what that takes at the most, before anything is read.

        Args:
            geometry: Of the volume.
            shape: ``*S`` as stored, three axes.
            name: How errors call it.
            probabilities: See :meth:`predict`.
            overlapped: See :meth:`compute`.

        Raises:
            MedconvError: It does not fit into memory in any way.
        """
        channels = self.plan.in_channels
        record = self.engine.preprocessor.record_of(geometry, shape, channels, name)
        return next(
            self._plans.of(record, channels, name, probabilities=probabilities, overlapped=overlapped)
        )
