"""Where training cases lie while a network trains on them: on the device where they fit, else on disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from medconv.datamodules.aside import Aside
from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.samplers import Sample, TrainingSampler
from medconv.transforms.crop import Locations
from medconv.transforms.patch_sampling import PackedVolumes, sample_patches
from medconv.transforms.transfer import move_together

StoreName = Literal["auto", "device", "disk"]

_SHARE = 0.25
"""Share of a device's free memory that training cases may take by themselves; the network needs the rest."""

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
    """Training batches from volumes that all lie on the device: nothing is read, copied or waited for.

    Patches of several batches are sampled and augmented together, because starting a kernel takes longer than it
    runs on one; on a GPU that happens beside the training steps before. A sample is a function of its key, so that
    changes nothing: the batches equal those of a ``DataLoader`` over the same dataset and sampler (up to rounding where
    the device is another one).

    Args:
        dataset: Its cases are copied to the device.
        sampler: Which sample comes when.
        batch_size: Patches in a batch.
        augment: Applied to the patches.
        device: Where the volumes and the batches lie.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        sampler: TrainingSampler,
        batch_size: int,
        augment: ChangeBatch,
        device: torch.device,
    ) -> None:
        self.dataset, self.sampler, self.batch_size = dataset, sampler, batch_size
        self.augment, self.device = augment, device
        self._places, self.volumes = _copy_to(device, dataset)
        patch_voxels = prod(dataset.plan.patch_size) * batch_size
        self._aside = Aside(device)
        self._ahead: tuple[tuple[Sample, ...], Batches] | None = None
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
        for following in chain(chunks, islice(self._chunks(self.sampler.next_epoch()), 1)):
            drawn = self._aside.claim(ahead)
            ahead = self._draw_aside(following)  # while the device trains on those before
            self._ahead = following, ahead
            for batch in zip(*(x.split(self.batch_size) for x in drawn), strict=True):
                yield dict(zip(("image", "label", "key", "case"), batch, strict=True))

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

    @torch.no_grad()
    def _draw(self, samples: tuple[Sample, ...]) -> tuple[Tensor, Tensor, Tensor]:
        keys = [sample.key for sample in samples]
        warps = self.dataset.draw_warps(keys)
        arrays = {
            "cases": np.array([sample.case for sample in samples]),
            "starts": np.array([self.dataset.draw_start(s, *self._places[s.case]) for s in samples]),
            "rows": warps.rows,
            "matrices": warps.strength,
        }
        on_device = move_together(arrays, self.device)
        turned = (on_device["rows"], on_device["matrices"]) if len(warps.rows) else None
        image, label = sample_patches(
            self.volumes, on_device["cases"], on_device["starts"], self.dataset.plan.patch_size, turned
        )
        host_keys = torch.tensor(keys)
        return *self.augment(image, label, host_keys), host_keys


def _copy_to(
    device: torch.device, dataset: PatchDataset
) -> tuple[list[tuple[tuple[int, ...], Locations]], PackedVolumes]:
    """Shape and foreground voxels of all cases, and their volumes; each is opened only while it is read."""
    places: list[tuple[tuple[int, ...], Locations]] = []
    for case in dataset.cases:
        prepared = dataset.cache.open(case)
        places.append((prepared.image.shape[1:], {k: np.array(v) for k, v in prepared.locations.items()}))
    volumes = PackedVolumes.empty(
        len(prepared.image), [shape for shape, _ in places], prepared.label.dtype, device
    )
    for i, case in enumerate(dataset.cases):
        prepared = dataset.cache.open(case)
        volumes.put(i, prepared.image, prepared.label)
    return places, volumes


def fits_on_device(dataset: PatchDataset, device: torch.device) -> bool:
    """Whether the cases take at most a quarter of what is free on a GPU; never true for a CPU.

    A CPU's memory holds what it reads from disk already.
    """
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return size_in_bytes(dataset) <= _SHARE * free


def size_in_bytes(dataset: PatchDataset) -> int:
    """What the prepared cases take in memory."""
    prepared = (dataset.cache.open(case) for case in dataset.cases)
    return sum(case.image.nbytes + case.label.nbytes for case in prepared)
