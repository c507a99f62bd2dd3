"""Training batches drawn on the device, from volumes that lie there or in main memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from medconv.datamodules.aside import Aside
from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.samplers import Sample, TrainingSampler
from medconv.datamodules.tiers import Tier
from medconv.datamodules.volume_sources import Gathered, InMainMemory, OnDevice, VolumeSource, Windows
from medconv.transforms.crop import Locations
from medconv.transforms.patch_sampling import PackedVolumes, sample_patches
from medconv.transforms.transfer import move_together

_VOXELS_AT_ONCE = 16_000_000
"""Patches drawn together: enough to keep a device busy for longer than it takes to start its kernels."""

Batches = tuple[Tensor, Tensor, Tensor, Tensor]
"""Image, label, key and case of several batches end to end."""


class ChangeBatch(Protocol):
    """Augmentation of patches that are already on the device."""

    def __call__(self, image: Tensor, label: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Changed copies of ``image (B, C, *P)`` and ``label (B, 1, *P)``."""
        ...


class StoreLoader:
    """Training batches from volumes on the device or in main memory: nothing is read from disk or waited for.

    Patches of several batches are sampled and augmented together, because starting a kernel takes longer than it
    runs on one; on a GPU that happens beside the training steps before. A sample is a function of its key, so that
    changes nothing: the batches equal those of a ``DataLoader`` over the same dataset and sampler (up to rounding where
    the device is another one).

    Args:
        dataset: Its cases are copied to where they are to lie.
        sampler: Which sample comes when.
        batch_size: Patches in a batch.
        augment: Applied to the patches.
        device: Where the batches lie.
        tier: Where the volumes lie, and in which type; ``tier.place`` is not ``"disk"``.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        sampler: TrainingSampler,
        batch_size: int,
        augment: ChangeBatch,
        device: torch.device,
        tier: Tier,
    ) -> None:
        self.dataset, self.sampler, self.batch_size = dataset, sampler, batch_size
        self.augment, self.device = augment, device
        home = device if tier.place == "device" else torch.device("cpu")
        self._places, volumes = _copy_to(home, dataset, tier.image_type)
        self.source: VolumeSource = (
            OnDevice(volumes) if tier.place == "device" else InMainMemory(volumes, device)
        )
        patch_voxels = prod(dataset.plan.patch_size) * batch_size
        self._aside = Aside(device)
        self._ahead: tuple[tuple[Sample, ...], Batches] | None = None
        self._begun: tuple[tuple[Sample, ...], tuple[Tensor, Gathered]] | None = None
        self.batches_at_once = 1 if device.type == "cpu" else max(1, _VOXELS_AT_ONCE // patch_voxels)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """``image (B, C, *P)`` float32, augmented, ``label (B, 1, *P)``; ``key (B,)`` and ``case (B,)`` on the host."""
        chunks = self._chunks(iter(self.sampler))
        if (first := next(chunks, None)) is None:
            return
        samples, ahead = self._ahead or ((), None)
        if ahead is None or samples != first:
            ahead = self._draw_aside(first)
        # the first of the next epoch too: it would be waited for
        for following, later in _with_next(chunks, self._chunks(self.sampler.next_epoch())):
            drawn = self._aside.claim(ahead)
            batches = zip(*(x.split(self.batch_size) for x in drawn), strict=True)
            if len(drawn[0]) > self.batch_size:
                # to draw takes the host a while; the device has a step to do meanwhile
                yield _named(next(batches))
            ahead = self._draw_aside(following)  # while the device trains on those before
            self._ahead = following, ahead
            if later:
                self._begun = later, self._begin(later)
            yield from map(_named, batches)

    def _chunks(self, samples: Iterator[Sample]) -> Iterator[tuple[Sample, ...]]:
        while chunk := tuple(islice(samples, self.batch_size * self.batches_at_once)):
            yield chunk

    def _draw_aside(self, samples: tuple[Sample, ...]) -> Batches:
        with self._aside:
            image, label, keys = self._draw(samples)
        return image, label, keys, torch.tensor([sample.case for sample in samples])

    def state_dict(self) -> dict[str, Any]:
        """Nothing: see ``SegmentationDataModule.state_dict``."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing: see ``SegmentationDataModule.load_state_dict``."""

    def _begin(self, samples: tuple[Sample, ...]) -> tuple[Tensor, Gathered]:
        keys = [sample.key for sample in samples]
        warps = self.dataset.draw_warps(keys)
        windows = Windows(
            np.array([sample.case for sample in samples]),
            np.array([self.dataset.draw_start(s, *self._places[s.case]) for s in samples]),
            warps.rows,
            warps.strength,
            tuple(self.dataset.plan.patch_size),
        )
        return torch.tensor(keys), self.source.gather(windows)

    @torch.no_grad()
    def _draw(self, samples: tuple[Sample, ...]) -> tuple[Tensor, Tensor, Tensor]:
        begun = self._begun[1] if self._begun and self._begun[0] == samples else self._begin(samples)
        (keys, gathered), self._begun = begun, None
        windows, volumes = gathered.windows, gathered.volumes()
        arrays = {
            "cases": windows.cases,
            "starts": windows.starts,
            "rows": windows.rows,
            "matrices": windows.matrices,
        }
        moved = move_together(arrays, self.device)
        turned = (moved["rows"], moved["matrices"]) if len(windows.rows) else None
        image, label = sample_patches(volumes, moved["cases"], moved["starts"], windows.patch_size, turned)
        return *self.augment(image, label, keys), keys


def _named(batch: Batches) -> dict[str, Tensor]:
    return dict(zip(("image", "label", "key", "case"), batch, strict=True))


def _with_next(
    chunks: Iterator[tuple[Sample, ...]], of_next_epoch: Iterator[tuple[Sample, ...]]
) -> Iterator[tuple[tuple[Sample, ...], tuple[Sample, ...]]]:
    """What is left of an epoch and the first of the next one, each with the one after it."""
    before: tuple[Sample, ...] = ()
    for chunk in chain(chunks, islice(of_next_epoch, 1)):
        if before:
            yield before, chunk
        before = chunk
    yield before, next(of_next_epoch, ())


def _copy_to(
    device: torch.device, dataset: PatchDataset, image_type: torch.dtype
) -> tuple[list[tuple[tuple[int, ...], Locations]], PackedVolumes]:
    """Shape and foreground voxels of all cases, and their volumes; each is opened only while it is read."""
    places: list[tuple[tuple[int, ...], Locations]] = []
    for case in dataset.cases:
        prepared = dataset.cache.open(case)
        places.append((prepared.image.shape[1:], {k: np.array(v) for k, v in prepared.locations.items()}))
    volumes = PackedVolumes.empty(
        len(prepared.image), [shape for shape, _ in places], prepared.label.dtype, device, image_type
    )
    for i, case in enumerate(dataset.cases):
        prepared = dataset.cache.open(case)
        volumes.put(i, prepared.image, prepared.label)
    return places, volumes
