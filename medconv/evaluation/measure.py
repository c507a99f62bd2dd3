"""Measure a pair of files, and make one table of the rows of many."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any, Protocol

from medconv.errors import ConfigError, DatasetError, MedconvError
from medconv.evaluation.pairs import Pair
from medconv.evaluation.read_pair import read_maps
from medconv.metrics import CaseRow, CaseTable, Empties, Structures, SurfaceConvention
from medconv.metrics.grid import LabelMap, labels_in


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one pair.

    Args:
        pair: Which one.
        rows: What was measured; empty if it failed.
        problem: Why it failed, or nothing.
        remark: What should be known of a case that did not fail, or nothing.
    """

    pair: Pair
    rows: tuple[Any, ...] = ()
    problem: str = ""
    remark: str = ""


@dataclass(frozen=True)
class EveryLabel:
    """Measure every label that either file of a case holds: what to do where references declare none.

    Args:
        tolerance_mm: Of the normalised surface Dice, for all of them; ``None`` chooses by the size of voxels.
        convention: What counts as surface; see ``SurfaceConvention``.
        ignore_label: The value of voxels in references that nobody labelled; see ``measure_case``.
        names: What somebody else calls labels, such as the predictions; one without a name is ``label_N``.

    Raises:
        ConfigError: A tolerance below 0 mm, or none.

    Example:
        >>> EveryLabel(4.0).structures([1, 3]).names
        {1: 'label_1', 3: 'label_3'}
    """

    tolerance_mm: float | None = None
    convention: SurfaceConvention = field(default_factory=SurfaceConvention)
    ignore_label: int | None = None
    names: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.tolerance_mm is not None and not 0 <= self.tolerance_mm < inf:
            raise ConfigError(f"expected a tolerance of 0 mm or more, got {self.tolerance_mm:g}")

    def structures(self, found: Sequence[int]) -> Structures:
        """What to measure in a case with these labels; an image without any is measured by one that it lacks."""
        labels = [label for label in found if label != self.ignore_label]
        names = {
            label: self.names.get(label, f"label_{label}")
            for label in labels or [2 if self.ignore_label == 1 else 1]
        }
        return Structures(
            names,
            tolerances_mm=self.tolerance_mm,
            convention=self.convention,
            ignore_label=self.ignore_label,
        )


_VOLUMES = ("ref_volume_ml", "pred_volume_ml", "volume_difference_ml")
_NO_SIZE = "nobody says how large a pixel is, so there are no distances and volumes; give --pixel-size-um, such as 0.65"


class FileMeasure(Protocol):
    """Something that reads the files of a pair and measures them, in any process."""

    def measure_files(self, pair: Pair) -> Sequence[Any]:
        """Rows of one kind."""


Measured = Structures | EveryLabel | FileMeasure | None
"""What can be measured of pairs of files; ``None`` is ``EveryLabel()``."""


def measure_pair(pair: Pair, what: Measured) -> CaseOutcome:
    """Read and measure one pair; whatever is wrong with it is told, not raised.

    Args:
        pair: Its files.
        what: What to measure; ``None`` is ``EveryLabel()``.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            rows = _measure(pair, what)
    except MedconvError as error:
        return CaseOutcome(pair, problem=str(error))
    except Exception as error:  # one faulty case must not cost the others; it is reported and counted
        return CaseOutcome(pair, problem=f"{type(error).__name__}: {error}")
    remarks = dict.fromkeys(str(w.message) for w in caught if w.category is UserWarning)
    return CaseOutcome(pair, tuple(rows), remark="; ".join(remarks))


def _measure(pair: Pair, what: Measured) -> Sequence[Any]:
    if what is not None and not isinstance(what, Structures | EveryLabel):
        return what.measure_files(pair)
    pred, ref, spacing_mm = read_maps(pair)
    structures = EveryLabel() if what is None else what
    if isinstance(structures, EveryLabel):
        structures = structures.structures(sorted({*labels_in(ref), *labels_in(pred)}))
    return measure_maps(pair.case_id, pred, ref, spacing_mm, structures)


def measure_maps(
    case_id: str,
    pred: LabelMap,
    ref: LabelMap,
    spacing_mm: Sequence[float] | None,
    structures: Structures,
    *,
    surfaces: bool = True,
) -> list[CaseRow]:
    """Rows of two label maps of one grid, also where nobody knows how large a pixel is.

    Args:
        case_id: Its name.
        pred: Labels ``(*S)``.
        ref: Likewise.
        spacing_mm: Voxel edge lengths; ``None``: unknown, and then nothing is said in mm or ml.
        structures: What to measure.
        surfaces: Whether distances are asked for.

    Warns:
        UserWarning: They are, and there are none.
    """
    if spacing_mm is not None:
        return structures.measure(case_id, pred, ref, spacing_mm, surfaces=surfaces)
    if surfaces:
        warnings.warn(_NO_SIZE, UserWarning, stacklevel=2)
    rows = structures.measure(case_id, pred, ref, (1.0,) * ref.ndim, surfaces=False)
    undefined = ("diagonal_mm", "nsd_tolerance_mm", *_VOLUMES)
    unknown: dict[str, Any] = {"spacing_mm": (), **dict.fromkeys(undefined, nan)}
    return [replace(row, **unknown) for row in rows]


def finish_table(
    outcomes: Iterable[CaseOutcome],
    label_names: Mapping[int, str] | None = None,
    empties: Empties | float = "diagonal",
) -> CaseTable:
    """One table of all outcomes, each case with a row for every structure.

    Where labels were not declared, the structures are all that occur in any case; a case that lacks one gets
    the row of a structure in neither map.

    Args:
        outcomes: Of ``measure_pairs``.
        label_names: Number to name of everything measured; ``None`` where labels were not declared.
        empties: See ``Summary.empties``.

    Raises:
        DatasetError: No case could be measured.
    """
    by_case = {outcome.pair.case_id: outcome.rows for outcome in outcomes if outcome.rows}
    if not by_case:
        raise DatasetError("expected at least one case that can be measured, got none")
    if label_names is not None:
        return CaseTable((row for rows in by_case.values() for row in rows), label_names, empties)
    seen = {row.label: row.name for rows in by_case.values() for row in rows if not _is_absent(row)}
    names = seen or {1: "label_1"}
    every = []
    for rows in by_case.values():
        own = {row.label: row for row in rows}
        every += [own.get(label) or _absent(rows[0], label, name) for label, name in names.items()]
    return CaseTable(every, names, empties)


def _is_absent(row: CaseRow) -> bool:
    return row.ref_empty and row.pred_empty


def _absent(like: CaseRow, label: int, name: str) -> CaseRow:
    """The row of a structure in neither map of the case that ``like`` belongs to."""
    undefined = ("dice", "iou", "nsd", "sensitivity", "precision", "hd_mm", "hd95_mm", "assd_mm", "masd_mm")
    volume = nan if like.ref_volume_ml != like.ref_volume_ml else 0.0
    nothing: dict[str, Any] = dict.fromkeys(undefined, nan)
    nothing |= dict.fromkeys(_VOLUMES, volume)
    nothing |= dict.fromkeys(("tp_voxels", "ref_voxels", "pred_voxels"), 0)
    return replace(like, label=label, name=name, ref_empty=True, pred_empty=True, **nothing)
