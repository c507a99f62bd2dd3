"""What is kept of a volume that has plain zeros around what it shows, and background where they were."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.io.geometry import reorient
from medconv.io.volume import Volume
from medconv.planning.nonzero import body_mask
from medconv.transforms.record import Record


def keep(volume: Volume, record: Record) -> Volume:
    """The box of a volume; a copy in the order of its memory, so that sums do not depend on what was around it."""
    if record.box is None:
        return volume
    return replace(volume, data=volume.data[record.kept].copy("K"), geometry=record.kept_geometry)


def put_back(kept: npt.NDArray[Any], record: Record) -> npt.NDArray[Any]:
    """Labels ``(1, *S)`` of the box on the stored grid; background, 0, around it."""
    if record.box is None:
        return kept
    whole = np.zeros((len(kept), *record.shape), kept.dtype)
    whole[record.kept] = kept
    return whole


def fill_background(
    probabilities: npt.NDArray[np.floating] | None, record: Record, *, is_exclusive: bool
) -> None:
    """Write into ``(K, *S)`` what is around the box: surely the first class, or none of the regions."""
    if probabilities is not None and record.box is not None:
        probabilities[...] = 0
        if is_exclusive:
            probabilities[0] = 1


def mask_where(volume: Volume, orientation: str) -> npt.NDArray[np.bool_]:
    """``body_mask`` of a volume with its axes turned to an orientation."""
    return reorient(body_mask(volume.data)[None], volume.geometry, orientation)[0][0]
