"""Surface distances by comparing every boundary voxel with every other: slow, and too simple to be wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial.distance import cdist

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]


def surface(mask: Mask, beyond: int = 0) -> npt.NDArray[np.intp]:
    faces = generate_binary_structure(mask.ndim, 1)
    return np.argwhere(mask & ~binary_erosion(mask, faces, border_value=beyond))


def distances_mm(
    pred: Mask, ref: Mask, spacing_mm: tuple[float, ...], beyond: int = 0
) -> tuple[Distances, Distances]:
    here, there = (surface(mask, beyond) * np.array(spacing_mm) for mask in (pred, ref))
    pairs = cdist(here, there)
    return pairs.min(axis=1), pairs.min(axis=0)
