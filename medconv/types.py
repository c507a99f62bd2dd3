"""The words that every room shares: axes, geometry, samples.

Axes carry the same letters everywhere, in code, docs and messages: ``B`` batch, ``C`` channels,
``*S`` spatial (``H W`` or ``D H W``; in array order as stored), ``K`` classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IntOrInts = int | Sequence[int]
LengthUnit = Literal["mm", "px"]
"""What lengths are counted in: pixels, where neither the file nor the user says how large one is."""
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of a volume lie in the patient.

    Args:
        affine: ``(4, 4)`` float64, voxel index to millimetres, RAS+ (NIfTI's convention).
        spacing_mm: Edge lengths of a voxel along the array axes; all 1, and no millimetres, where ``unit`` is ``"px"``.
        orientation: Anatomical direction in which each array axis grows, such as ``"RAS"``.
        unit: ``"px"`` where nobody knows how large a pixel is: affine and spacing then count pixels.
        has_thickness: Whether the third spacing is one: a single microscopy image has none, 1 stands for it.
    """

    affine: FloatArray
    spacing_mm: tuple[float, ...]
    orientation: str
    unit: LengthUnit = "mm"
    has_thickness: bool = True

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in ml; ``None`` where nobody knows how large a pixel is, or how thick."""
        known = self.unit == "mm" and self.has_thickness
        return float(np.prod(self.spacing_mm)) / 1000 if known else None
