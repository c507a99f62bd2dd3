"""The words that every room shares: axes, geometry, samples.

Axes carry the same letters everywhere, in code, docs and messages: ``B`` batch, ``C`` channels,
``*S`` spatial (``H W`` or ``D H W``; in array order as stored), ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntOrInts = int | Sequence[int]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a volume lie in the patient.

    Args:
        affine: ``(4, 4)`` float64, voxel index to millimetres, RAS+ (NIfTI's convention).
        spacing_mm: Edge lengths of a voxel along the array axes.
        orientation: Anatomical direction in which each array axis grows, such as ``"RAS"``.
    """

    affine: FloatArray
    spacing_mm: tuple[float, ...]
    orientation: str
