"""A volume as DICOM has it: which files or frames it is made of, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medconv.io.dicom.stacking import Stack
from medconv.types import FloatArray

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Series:
    """A stack of slices.

    Args:
        paths: Of the slices, in the order in which they lie along their normal; one where all lie in an enhanced file.
        rows: Voxels along an image column.
        columns: Voxels along an image row.
        affine: ``(4, 4)``; from (column, row, slice) to mm, RAS.
        frames: Index of each slice in the one file, in the same order; none where each has a file of its own.
        scales: Slope and intercept of each of ``frames``.
    """

    paths: tuple[Path, ...]
    rows: int
    columns: int
    affine: FloatArray
    frames: tuple[int, ...] = ()
    scales: tuple[tuple[float, float], ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(X, Y, Z)``: columns, rows, slices."""
        return (self.columns, self.rows, len(self.frames or self.paths))


def grid_affine(stack: Stack, row: FloatArray, column: FloatArray, spacing: FloatArray) -> FloatArray:
    """``(4, 4)``, from (column, row, slice) to mm, RAS.

    Args:
        stack: How the slices lie.
        row: The direction in which the column index grows, LPS.
        column: The direction in which the row index grows, LPS.
        spacing: As in PixelSpacing: the distance of rows, then of columns, in mm.
    """
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = row * spacing[1], column * spacing[0], stack.step_mm
    lps[:3, 3] = stack.origin_mm
    affine: FloatArray = _LPS_TO_RAS @ lps
    return affine
