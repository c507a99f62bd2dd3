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
from medconv.transforms.crop import draw_patch


class PatchDataset(Dataset[dict[str, Any]]):
    """Random patches; a patch is a function of the ``Sample`` asked for, whichever worker is asked.

    Args:
        cache: With an entry for each case.
        cases: To train on.
        patch_size: ``*P``.
    """

    def __init__(self, cache: CaseCache, cases: Sequence[Case], patch_size: Sequence[int]) -> None:
        self.cache, self.cases, self.patch_size = cache, tuple(cases), tuple(patch_size)

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, sample: Sample) -> dict[str, Any]:
        """``image (C, *P)`` float32, ``label (1, *P)``, ``key``."""
        case = self.cache.open(self.cases[sample.case])
        rng = np.random.default_rng(sample.key)
        locations = case.locations if sample.on_foreground else None
        image, label = draw_patch(case.image, case.label, self.patch_size, rng, locations)
        return {"image": torch.from_numpy(image), "label": torch.from_numpy(label), "key": sample.key}


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
        a numpy array on the stored grid; then ``record``, ``case_id`` and the stored grid's ``spacing_mm``.
        """
        case = self.cache.open(self.cases[index])
        return {
            "image": torch.from_numpy(np.array(case.image))[None],
            "target": torch.from_numpy(np.array(case.label))[None],
            "label": np.array(case.native_label),
            "record": case.record,
            "case_id": self.cases[index].case_id,
            "spacing_mm": case.record.geometry.spacing_mm,
        }
