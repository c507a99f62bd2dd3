"""Pictures of the cases that went worst, drawn from their files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError
from medconv.evaluation import Pair
from medconv.evaluation.measure import read_pair
from medconv.io import reader_for, require_same_grid
from medconv.reporting.overlays import draw_overlay


def draw_pairs(pairs: Sequence[Pair], label_names: Mapping[int, str] | None = None) -> dict[str, bytes]:
    """A PNG a case: outlines of reference and prediction on the image, in three planes through the largest error.

    Without an image, or with one that cannot be read or lies on another grid, the outlines stand on black.

    Args:
        pairs: The files of the cases; both masks can be read and lie on one grid.
        label_names: For the legend.

    Returns:
        PNG files by case.
    """
    return {pair.case_id: _draw(pair, label_names or {}) for pair in pairs}


def _draw(pair: Pair, label_names: Mapping[int, str]) -> bytes:
    reference, prediction = read_pair(pair)
    image: npt.NDArray[Any] = np.zeros(reference.shape, np.float32)
    if pair.image is not None:
        try:
            volume = reader_for(pair.image, pair.layout).read_volume(pair.image)
            require_same_grid(reference, volume)
            image = volume.data[0]
        except MedconvError:
            pass  # the masks are what is shown; what is wrong with the image is no matter of this table
    truth, found, spacing_mm = reference.data[0], prediction.data[0], reference.geometry.spacing_mm
    orientation: str | None = reference.geometry.orientation
    if image.shape[-1] == 1:
        image, truth, found = image[..., 0], truth[..., 0], found[..., 0]
        spacing_mm, orientation = spacing_mm[:2], None
    picture = draw_overlay(
        image,
        truth,
        found,
        spacing_mm,
        label_names=label_names,
        title=pair.case_id,
        orientation=orientation,
        at_disagreement=True,
    )
    stream = io.BytesIO()
    picture.savefig(stream, format="png", dpi=90)
    return stream.getvalue()
