"""Surface distances by comparing every boundary voxel with every other: slow, and too simple to be wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial.distance import cdist

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]


def surface(mask: Mask) -> npt.NDArray[np.intp]:
    faces = generate_binary_structure(mask.ndim, 1)
    return np.argwhere(mask & ~binary_erosion(mask, faces, border_value=0))


def distances_mm(pred: Mask, ref: Mask, spacing_mm: tuple[float, ...]) -> tuple[Distances, Distances]:
    pairs = cdist(surface(pred) * np.array(spacing_mm), surface(ref) * np.array(spacing_mm))
    return pairs.min(axis=1), pairs.min(axis=0)
