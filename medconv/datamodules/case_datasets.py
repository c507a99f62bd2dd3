"""Prepared cases as PyTorch datasets: random patches to train on, whole cases to measure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from medconv.datamodules.cache import CaseCache
from medconv.datamodules.samplers import Sample
from medconv.io import Case
from medconv.planning import Plan
from medconv.transforms.augment_draw import Pick, draw_warps
from medconv.transforms.augment_settings import NNUNET, AugmentSettings
from medconv.transforms.crop import Locations, cut, draw_start
from medconv.transforms.patch_sampling import sample_turned_patch


class PatchDataset(Dataset[dict[str, Any]]):
    """Random patches; a patch is a function of the ``Sample`` asked for, whichever worker is asked.

    Args:
        cache: With an entry for each case.
        cases: To train on.
        plan: Size and spacing of the patches.
        augment: How often and how far patches are turned and zoomed; the other changes come later, on the device.
    """

    def __init__(
        self, cache: CaseCache, cases: Sequence[Case], plan: Plan, augment: AugmentSettings = NNUNET
    ) -> None:
        self.cache, self.cases, self.plan, self.augment = cache, tuple(cases), plan, augment

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        """``image (C, *P)`` float32, ``label (1, *P)``, ``key``, and ``case``: its position among the cases."""
        case, size = self.cache.open(self.cases[sample.case]), self.plan.patch_size
        start = self.draw_start(sample, case.image.shape[1:], case.locations)
        turned = self.draw_warps([sample.key]).strength
        if len(turned):
            image, label = sample_turned_patch(case.image, case.label, start, size, turned[0])
        else:
            image, label = (torch.from_numpy(cut(array, start, size)) for array in (case.image, case.label))
        return {"image": image, "label": label, "key": sample.key, "case": sample.case}

    def draw_start(self, sample: Sample, shape: Sequence[int], locations: Locations) -> list[int]:
        """First voxel of a sample's window in its case, which has this shape and these foreground voxels."""
        rng = np.random.default_rng(sample.key)
        return draw_start(shape, self.plan.patch_size, rng, locations if sample.on_foreground else None)

    def draw_warps(self, keys: Sequence[int]) -> Pick:
        """Which of some samples are turned and zoomed, and how."""
        return draw_warps(
            self.augment, np.asarray(keys, np.int64), self.plan.patch_size, self.plan.spacing_mm
        )


class CaseDataset(Dataset[dict[str, Any]]):
    """Whole cases with everything needed to measure a prediction on the grid it was drawn on.

    Args:
        cache: With an entry for each case.
        cases: To measure on.
    """

    def __init__(self, cache: CaseCache, cases: Sequence[Case]) -> None:
        self.cache, self.cases = cache, tuple(cases)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A batch of one case.

        ``image (1, C, *S')`` and ``target (1, 1, *S')`` are tensors on the network's grid, ``label (*S)`` is
        a numpy array on the stored grid; then ``record``, ``case_id`` and the stored grid's ``spacing_mm``,
        ``None`` where nobody knows how large a pixel is.
        """
        case = self.cache.open(self.cases[index])
        geometry = case.record.geometry
        return {
            "image": torch.from_numpy(np.array(case.image))[None],
            "target": torch.from_numpy(np.array(case.label))[None],
            "label": np.array(case.native_label),
            "record": case.record,
            "case_id": self.cases[index].case_id,
            "spacing_mm": None if geometry.unit == "px" else geometry.spacing_mm,
        }
