"""Pictures of the images whose objects were found worst, drawn from their files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.evaluation import Pair
from medconv.reporting.case_pictures import read_for_picture
from medconv.reporting.instance_drawing import draw_instance_errors, png_bytes

Array = npt.NDArray[Any]


def draw_instance_pairs(pairs: Sequence[Pair], ignore_label: int | None = None) -> dict[str, bytes]:
    """A PNG an image: what was found, missed and invented; of a stack, the slice in which the maps differ most.

    Args:
        pairs: The files; both masks can be read and lie on one grid.
        ignore_label: The number in references that says nothing.

    Returns:
        PNG files by image.
    """
    return {pair.case_id: png_bytes(_draw(pair, ignore_label)) for pair in pairs}


def _draw(pair: Pair, ignore_label: int | None) -> npt.NDArray[np.uint8]:
    image, ref, pred = read_for_picture(pair)[:3]
    if ignore_label is not None:
        known = ref != ignore_label
        ref, pred = np.where(known, ref, 0), np.where(known, pred, 0)
    return draw_instance_errors(*most_different_slice(image, pred, ref))


def most_different_slice(image: Array, pred: Array, ref: Array) -> tuple[Array, Array, Array]:
    """The slice of a stack in which the maps differ most, the middle one where they do not; an image as it is."""
    if ref.ndim < 3:
        return image, pred, ref
    differing = ((ref > 0) != (pred > 0)).sum(axis=(0, 1))
    z = int(differing.argmax()) if differing.any() else ref.shape[2] // 2
    return image[..., z], pred[..., z], ref[..., z]
