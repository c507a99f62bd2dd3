"""What training cases take in memory, and the smallest type that holds their images without loss."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from medconv.datamodules.case_datasets import PatchDataset
from medconv.datamodules.tiers import Footprint, Room
from medconv.host_memory import free_host_bytes

_WHOLE = (torch.uint8, torch.int16)


def measure_footprint(dataset: PatchDataset, *, look_for_whole_numbers: bool = True) -> Footprint:
    """Of all prepared cases.

    Half precision (11 bits) is enough for images that were normalised: 1 is a standard deviation there, and rounding
    stays far below the noise of any scanner. Of images that are as they are in the files nobody knows that; but
    where all their values are whole numbers, these are kept as such.

    Args:
        dataset: With its cases prepared.
        look_for_whole_numbers: Where no channel is normalised; otherwise the type is float32.

    Cost:
        Headers of the entries; every voxel where no channel is normalised, up to the first that is no whole number.
    """
    shapes = [dataset.cache.open(case).label.shape for case in dataset.cases]
    first = dataset.cache.open(dataset.cases[0])
    kinds = dataset.plan.normalization
    is_raw = look_for_whole_numbers and all(kind == "none" for kind in kinds)
    exact = _whole_type(dataset) if is_raw else torch.float32
    return Footprint(
        sum(prod(shape) for shape in shapes),
        len(first.image),
        first.label.dtype.itemsize,
        exact,
        may_round="none" not in kinds,
    )


def measure_room(device: torch.device, processes: int) -> Room:
    """What is free now; main memory is shared by the processes of this machine."""
    host = free_host_bytes()
    ram = None if host is None else host // processes
    if device.type != "cuda":
        return Room(str(device), ram, ram)
    return Room(str(device), torch.cuda.mem_get_info(device)[0], ram)


def _whole_type(dataset: PatchDataset) -> torch.dtype:
    """The smallest of a few types of whole numbers that holds every image; float32 where none does."""
    kept = set(_WHOLE)
    for case in dataset.cases:
        image = dataset.cache.open(case).image
        low, high = float(image.min()), float(image.max())
        kept = {t for t in kept if torch.iinfo(t).min <= low and high <= torch.iinfo(t).max}
        if not kept or not all(
            np.array_equal(part, np.rint(part)) for part in image.reshape(-1, *image.shape[-2:])
        ):
            return torch.float32
    return min(kept, key=lambda t: t.itemsize)
