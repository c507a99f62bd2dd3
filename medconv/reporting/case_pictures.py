"""Pictures of the cases that went worst, drawn from their files."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import MedconvError
from medconv.evaluation import Pair
from medconv.evaluation.read_pair import read_pair
from medconv.io import reader_for, require_same_grid
from medconv.reporting.overlays import draw_overlay
from medconv.types import Geometry

Array = npt.NDArray[Any]


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


def read_for_picture(pair: Pair) -> tuple[Array, Array, Array, Geometry]:
    """Image, reference and prediction of a pair ``(*S)``, two axes where there is one slice, and where they lie.

    Without an image, or with one that cannot be read or lies on another grid, it is black: the masks are what is
    shown, and what is wrong with the image is no matter of the table.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # told where the maps were measured
        reference, prediction = read_pair(pair)
    image: Array = np.zeros(reference.shape, np.float32)
    if pair.image is not None:
        try:
            volume = reader_for(pair.image, pair.layout).read_volume(pair.image)
            require_same_grid(reference, volume)
            image = volume.data[0]
        except MedconvError:
            pass
    layers = image, reference.data[0], prediction.data[0]
    image, truth, found = (layer[..., 0] if layer.shape[-1] == 1 else layer for layer in layers)
    return image, truth, found, reference.geometry


def _draw(pair: Pair, label_names: Mapping[int, str]) -> bytes:
    image, truth, found, geometry = read_for_picture(pair)
    is_flat = image.ndim == 2
    picture = draw_overlay(
        image,
        truth,
        found,
        geometry.spacing_mm[: image.ndim],
        label_names=label_names,
        unit=geometry.unit,
        title=pair.case_id,
        orientation=None if is_flat else geometry.orientation,
        at_disagreement=True,
    )
    stream = io.BytesIO()
    picture.savefig(stream, format="png", dpi=90)
    return stream.getvalue()
