"""Augmented samples to look at before a night of training goes into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medconv.datamodules.base import SegmentationDataModule
from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.samplers import Sample, TrainingSampler
from medconv.transforms.augment_draw import INTENSITY_CHANGES, draw_picks
from medconv.transforms.crop import cut
from medconv.transforms.keyed_random import sample_key
from medconv.transforms.patch_sampling import sample_turned_patch

_FAR_NUMBER = 10**9
"""Keys from here on belong to no sample of any run, so a preview is no part of one."""


@dataclass(frozen=True, eq=False)
class Preview:
    """One patch as it was cut, and what augmentation makes of it.

    Args:
        case_id: Where it was cut.
        images: ``(1 + n, *P)``, first channel; the first one as cut.
        labels: ``(1 + n, *P)``.
        changes: What was done to each, in words.
    """

    case_id: str
    images: np.ndarray
    labels: np.ndarray
    changes: tuple[str, ...]


def preview_augmentation(data: SegmentationDataModule, patches: int = 4, variants: int = 5) -> list[Preview]:
    """Patches around structures, each several times, with the settings of a data module that is set up.

    The same seed shows the same.

    Args:
        data: After ``setup``.
        patches: How many.
        variants: Of each.
    """
    sampler = TrainingSampler(len(data.training_set), 1, 1, data.seed, foreground_share=1.0)
    count = min(patches, len(data.training_set))
    return [
        _preview(
            data,
            sampler.sample(n),
            [sample_key(data.seed, _FAR_NUMBER + n * variants + j) for j in range(variants)],
        )
        for n in range(count)
    ]


def _preview(data: SegmentationDataModule, sample: Sample, keys: list[int]) -> Preview:
    dataset, size = data.training_set, data.plan.patch_size
    case = dataset.cache.open(dataset.cases[sample.case])
    start = dataset.draw_start(sample, case.image.shape[1:], case.locations)
    plain = [torch.from_numpy(cut(array, start, size)) for array in (case.image, case.label)]
    drawn, words = [], []
    for key in keys:
        warp = dataset.draw_warps([key]).strength
        drawn.append(
            sample_turned_patch(case.image, case.label, start, size, warp[0]) if len(warp) else plain
        )
        words.append(["rotation, zoom"] if len(warp) else [])
    images, labels = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    changed, moved = data.augmentation()(images, labels, torch.tensor(keys))
    _name_changes(data, dataset, keys, words)
    return Preview(
        dataset.cases[sample.case].case_id,
        np.concatenate([plain[0][:1].numpy(), changed[:, 0].numpy()]),
        np.concatenate([plain[1].numpy(), moved[:, 0].numpy()]),
        ("as cut", *(", ".join(names) or "nothing" for names in words)),
    )


def _name_changes(
    data: SegmentationDataModule, dataset: PatchDataset, keys: list[int], words: list[list[str]]
) -> None:
    channels = data.plan.in_channels
    picks = draw_picks(data.augmentation().settings, np.asarray(keys), (channels, *dataset.plan.patch_size))
    for name, pick in picks.items():
        # changes of intensity are drawn for each channel; the first one is shown
        rows = [row for row in pick.rows if name not in INTENSITY_CHANGES or row % channels == 0]
        for row in rows:
            sample = row // channels if name in INTENSITY_CHANGES else row
            words[int(sample)].append(
                name.removesuffix("_vox").removesuffix("_sigma").removesuffix("_std").replace("_", " ")
            )
