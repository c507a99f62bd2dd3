"""One measured structure: the row of every table, and its form in a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import nan
from typing import Any, TextIO

from medconv.metrics.convention import SurfaceConvention
from medconv.metrics.row_text import RowText


@dataclass(frozen=True)
class CaseRow:
    """What was measured for one structure in one case; plain values, so that it travels anywhere.

    Where one side is empty ``dice``, ``iou`` and ``nsd`` are 0 and the distances are infinite; where both
    are, all of them are nan. What an empty side means for a mean is decided in the summary, so a stored
    table can be summarised anew. A figure that has a default is nan where nobody measured it: in tables
    written before it was, and ``nsd`` of a structure without a tolerance.

    Args:
        case_id: Name of the case.
        label: Number of the structure in the label map.
        name: Its name.
        dice: 0 to 1.
        hd_mm: Hausdorff distance.
        hd95_mm: Larger of the two directed 95th percentiles.
        ref_empty: The reference has no voxel of this label.
        pred_empty: The prediction has none.
        ref_volume_ml: Volume in the reference; nan for 2-D images.
        pred_volume_ml: Volume in the prediction; nan for 2-D images.
        diagonal_mm: Between the centres of opposite corner voxels of the image, the longest distance in it.
        iou: Intersection over union, 0 to 1.
        sensitivity: Share of the reference that was found; nan if the reference is empty.
        precision: Share of the prediction that is right; nan if the prediction is empty.
        volume_difference_ml: Prediction minus reference; nan for 2-D images.
        assd_mm: Mean distance over the surface voxels of both sides together.
        masd_mm: Mean of the two directed mean distances.
        nsd: Share of both surfaces within ``nsd_tolerance_mm`` of the other, 0 to 1.
        nsd_tolerance_mm: Tolerance of ``nsd``; nan if the structure has none.
        tp_voxels: Voxels of the structure on both sides; -1 where nobody counted, as all that follow.
        ref_voxels: In the reference.
        pred_voxels: In the prediction.
        image_voxels: In the image, ignored ones left out.
        spacing_mm: Voxel edge lengths of the image; empty where nobody noted them.
        convention: How distances were measured, as ``SurfaceConvention.short`` says it.
        ignored_voxels: That the reference says nothing about; they are part of no figure.
    """

    case_id: str
    label: int
    name: str
    dice: float
    hd_mm: float
    hd95_mm: float
    ref_empty: bool
    pred_empty: bool
    ref_volume_ml: float
    pred_volume_ml: float
    diagonal_mm: float
    iou: float = nan
    sensitivity: float = nan
    precision: float = nan
    volume_difference_ml: float = nan
    assd_mm: float = nan
    masd_mm: float = nan
    nsd: float = nan
    nsd_tolerance_mm: float = nan
    tp_voxels: int = -1
    ref_voxels: int = -1
    pred_voxels: int = -1
    image_voxels: int = -1
    spacing_mm: tuple[float, ...] = ()
    convention: str = SurfaceConvention().short
    ignored_voxels: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """What identifies a row: case and label."""
        return self.case_id, self.label

    @property
    def values(self) -> tuple[Any, ...]:
        """All columns, in the order of ``COLUMNS``."""
        return CASE_ROWS.values(self)

    def agrees_with(self, other: CaseRow) -> bool:
        """Whether both hold the same measurement, to a millionth."""
        return not self.contradictions(other)

    def contradictions(self, other: CaseRow) -> dict[str, tuple[Any, Any]]:
        """The columns in which both differ, each with the two values.

        Example:
            >>> sizes = (4.0, 1.5, False, False, 2.0, 2.1, 50.0)
            >>> CaseRow("a", 1, "organ", 0.9, *sizes).contradictions(CaseRow("a", 1, "organ", 0.8, *sizes))
            {'dice': (0.9, 0.8)}
        """
        return CASE_ROWS.contradictions(self, other)


CASE_ROWS = RowText(CaseRow)
"""Rows of cases and structures in a CSV file."""

COLUMNS = CASE_ROWS.columns


def write_rows(rows: Iterable[CaseRow], stream: TextIO, *, has_header: bool = True) -> None:
    """Write rows as CSV; see ``RowText.write``."""
    CASE_ROWS.write(rows, stream, has_header=has_header)


def read_rows(stream: TextIO) -> Iterator[CaseRow]:
    """Read what ``write_rows`` wrote; see ``RowText.read``."""
    return CASE_ROWS.read(stream)
