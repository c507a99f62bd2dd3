"""Both label maps of a pair, on one grid, in the axes they are measured in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from medconv.evaluation.pairs import Pair
from medconv.io import Volume, reader_for, require_same_grid
from medconv.io.readers import Reader

LabelMap = npt.NDArray[Any]


def reader_of(pair: Pair, path: Path) -> Reader:
    """The reader of one of a pair's files, which knows what the user states about axes and pixel size."""
    return reader_for(path, pair.layout)


def read_pair(pair: Pair) -> tuple[Volume, Volume]:
    """Reference and prediction; the pixel size of the reference counts, and that of the prediction where it has none.

    Raises:
        BadImageError: A file cannot be used as a label map.
    """
    reference = reader_of(pair, pair.reference).read_labels(pair.reference)
    prediction = reader_of(pair, pair.prediction).read_labels(pair.prediction)
    if reference.geometry.unit == "px" and reference.shape == prediction.shape:
        reference = replace(reference, geometry=prediction.geometry)
    return reference, prediction


def read_maps(pair: Pair) -> tuple[LabelMap, LabelMap, tuple[float, ...] | None]:
    """Prediction and reference ``(*S)``, and the spacing in mm; ``None`` where nobody knows how large a pixel is.

    A slice is an image of two axes: in three, every voxel of it would lie on a surface.

    Raises:
        MedconvError: A file cannot be read, or both do not lie on one grid.
    """
    reference, prediction = read_pair(pair)
    require_same_grid(reference, prediction)
    ref, pred = reference.data[0], prediction.data[0]
    if ref.shape[-1] == 1:
        ref, pred = ref[..., 0], pred[..., 0]
    geometry = reference.geometry
    return pred, ref, None if geometry.unit == "px" else geometry.spacing_mm[: ref.ndim]
