"""From a volume to labels on its own grid: the object behind ``medconv predict`` and ``medconv.load``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from medconv.errors import ConfigError
from medconv.inference.checkpoint import read_checkpoint
from medconv.inference.device import (
    Precision,
    describe_device,
    mixed_precision,
    resolve_device,
    resolve_precision,
)
from medconv.inference.ensemble import LogMeanProbability, agreed_plan
from medconv.inference.memory import first_that_fits
from medconv.inference.prediction import Labels, Prediction
from medconv.inference.spacious import spacious_array
from medconv.inference.stopwatch import Stopwatch
from medconv.inference.tta import mirror_average
from medconv.inference.volumes import spacing_note, to_volume
from medconv.inference.window import sliding_window
from medconv.io import Volume
from medconv.kernels import HAS_TRITON, to_channels_last
from medconv.planning import Plan, mirror_axes
from medconv.transforms import Preprocessor, Record

M = TypeVar("M", Tensor, nn.Module)

CPU = torch.device("cpu")


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
        tile_batch: Tiles that pass a network together.
        mirror: Average over mirrored copies too, 2 to 8 times slower; the left-right axis is left out where
            label names speak of sides.
        precision: ``"auto"`` (bf16 or fp16 on CUDA, else fp32), ``"fp32"``, ``"bf16"``, ``"fp16"``.

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
        tile_batch: int = 4,
        mirror: bool = False,
        precision: Precision = "auto",
    ) -> None:
        if not 0 <= overlap < 1 or tile_batch < 1:
            raise ConfigError(
                f"expected overlap from 0 up to, not including, 1 and tile_batch from 1; "
                f"got overlap {overlap} and tile_batch {tile_batch}"
            )
        self.plan = agreed_plan(plans)
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.overlap, self.tile_batch = overlap, tile_batch
        names = self.plan.structure_names
        self.mirrored_axes = (
            mirror_axes(self.plan.orientation, self.plan.spatial_dims, names) if mirror else ()
        )
        # the layout that the quick kernels for GPUs want
        self._is_channels_last = HAS_TRITON and self.device.type == "cuda"
        self._members = [
            (self._arranged(network.eval().to(self.device)), plan.patch_size)
            for network, plan in zip(networks, plans, strict=True)
        ]
        self._preprocessor = Preprocessor(self.plan)

    @classmethod
    def from_checkpoint(
        cls,
        *paths: str | Path,
        device: str | torch.device = "auto",
        overlap: float = 0.5,
        tile_batch: int = 4,
        mirror: bool = False,
        precision: Precision = "auto",
        allow: Sequence[str] = (),
    ) -> Predictor:
        """Read one checkpoint, or several as an ensemble, and get ready to label volumes.

        Args:
            paths: ``.ckpt`` files written by ``medconv fit``.
            device: See the class.
            overlap: See the class.
            tile_batch: See the class.
            mirror: See the class.
            precision: See the class.
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
            precision=precision,
        )

    @property
    def setting(self) -> str:
        """Where and how it computes, in words: ``"cpu (2 threads), float32"``."""
        text = f"{describe_device(self.device)}, {str(self.dtype).removeprefix('torch.')}"
        mirrored = ", ".join(map(str, self.mirrored_axes))
        return f"{text}, mirrored along axes {mirrored}" if mirrored else text

    @property
    def label_names(self) -> dict[int, str]:
        """Name of each label, 0 the background."""
        return dict(self.plan.label_names)

    def predict(
        self, x: Any, *, spacing_mm: Sequence[float] | None = None, probabilities: bool = False
    ) -> Prediction:
        """Label one volume on its own grid.

        Args:
            x: The path of a file or of a folder with a DICOM series; several paths, one a channel; a nibabel
                image; or an array ``(*S)`` or ``(C, *S)`` with ``spacing_mm``.
            spacing_mm: Voxel edge lengths of an array; files and images carry their own.
            probabilities: Keep the probability of every class too, ``2 K prod(S)`` bytes.

        Raises:
            BadImageError: A file cannot be read, or has another number of channels than the network.
            ConfigError: An array without spacing, or a spacing for something that has one.

        Warns:
            UserWarning: The spacing is far from training's, or memory ran short.
        """
        watch = Stopwatch(self.device)
        with watch.stage("read"):
            volume = to_volume(x, self.plan.in_channels, spacing_mm)
        prediction = self._segment(volume, watch, probabilities)
        if spacing_mm is not None and len(spacing_mm) == 2:  # a slice came without its third axis
            kept = prediction.probabilities
            prediction = replace(
                prediction,
                labels=prediction.labels[..., 0],
                probabilities=None if kept is None else kept[..., 0],
            )
        for note in prediction.notes:
            warnings.warn(note, UserWarning, stacklevel=2)
        return prediction

    def _segment(self, volume: Volume, watch: Stopwatch, probabilities: bool) -> Prediction:
        with watch.stage("preprocess"):
            image, record = self._preprocessor.apply(volume)
        with watch.stage("network"):
            scores, how = first_that_fits(self._attempts(image[None]))
        with watch.stage("restore"):
            kept = (
                spacious_array((self.plan.num_classes, *record.shape), np.float16) if probabilities else None
            )
            labels, where = first_that_fits(self._restorations(scores[0], record, kept))
        short = [
            f"{volume.name}: GPU memory ran short; went on with {words}" for words in (how, where) if words
        ]
        notes = [*spacing_note(volume, self.plan), *short]
        return Prediction(labels, volume, self.label_names, watch.seconds, tuple(notes), kept)

    def _attempts(self, image: Tensor) -> dict[str, Callable[[], Tensor]]:
        there = self.device
        attempts = {"": lambda: self._scores(image.to(there), self.tile_batch)}
        if there != CPU:
            attempts["one tile at a time"] = lambda: self._scores(image.to(there), 1)
            attempts["one tile at a time, gathered on the CPU"] = lambda: self._scores(image.cpu(), 1)
        return attempts

    def _restorations(
        self, scores: Tensor, record: Record, kept: npt.NDArray[np.floating] | None
    ) -> dict[str, Callable[[], Labels]]:
        restore = self._preprocessor.restore
        return {
            "": lambda: restore(scores, record, kept),
            "the labels made on the CPU": lambda: restore(scores.cpu(), record, kept),
        }

    @torch.inference_mode()
    def _scores(self, image: Tensor, tile_batch: int) -> Tensor:
        """Scores ``(1, K, *S)`` for ``decide``: logits, or those of the mean probability."""
        mean = LogMeanProbability(exclusive=not self.plan.regions)
        for network, patch_size in self._members:
            mean.add(
                sliding_window(
                    partial(self._ask, network),
                    image,
                    patch_size,
                    overlap=self.overlap,
                    batch_size=tile_batch,
                    device=self.device,
                )
            )
        return mean.result()

    def _ask(self, network: nn.Module, patches: Tensor) -> Tensor:
        with mixed_precision(self.dtype, self.device):
            return mirror_average(network, self._arranged(patches), self.mirrored_axes)

    def _arranged(self, value: M) -> M:
        return to_channels_last(value) if self._is_channels_last else value
