"""What is measured of a prediction: the labels of a case, or the single objects of an image."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from medconv.evaluation.measure import measure_maps
from medconv.metrics import (
    CaseRow,
    CaseTable,
    InstanceRow,
    InstanceTable,
    Interval,
    Structures,
    measure_instances,
    panoptic_quality,
    table_intervals,
)
from medconv.metrics.bootstrap import RESAMPLES
from medconv.metrics.scores import INSTANCE_SCORES, SCORES, Score
from medconv.metrics.table_intervals import OVERALL
from medconv.study.agreement import Agreement, agreement_of
from medconv.types import FloatArray

Labels = npt.NDArray[Any]
Row = CaseRow | InstanceRow
Table = CaseTable | InstanceTable


class Measure(Protocol):
    """What is measured, and the table that it becomes."""

    @property
    def scores(self) -> Mapping[str, Score]:
        """Every score by name."""

    @property
    def names(self) -> Mapping[int, str]:
        """Number to name of what is measured; 0 for all of it together."""

    def rows(
        self, case_id: str, pred: Labels, ref: Labels, spacing_mm: Sequence[float] | None
    ) -> tuple[Row, ...]:
        """Measure one case; ``spacing_mm`` is ``None`` where nobody knows how large a pixel is."""

    def table(self, rows: Iterable[Row]) -> Table:
        """One table of all cases."""

    def agreement(self, one: Labels, other: Labels, **options: Any) -> Agreement:
        """Two predictions of one image beside each other; see ``agreement_of``."""


@dataclass(frozen=True)
class Classes:
    """The structures of a label map.

    Args:
        structures: Which ones, with what their distances are.
        surfaces: Whether distances between surfaces are measured.
    """

    structures: Structures
    surfaces: bool = True
    scores: Mapping[str, Score] = field(default_factory=lambda: SCORES)

    @property
    def names(self) -> dict[int, str]:
        """Number to name: the mean over structures, classes, regions."""
        return {OVERALL: "mean over structures", **self.structures.names}

    def rows(
        self, case_id: str, pred: Labels, ref: Labels, spacing_mm: Sequence[float] | None
    ) -> tuple[CaseRow, ...]:
        """A row a structure."""
        return tuple(measure_maps(case_id, pred, ref, spacing_mm, self.structures, surfaces=self.surfaces))

    def table(self, rows: Iterable[Row]) -> CaseTable:
        """A table of cases and structures."""
        return CaseTable(cast("Iterable[CaseRow]", rows), self.structures.names)

    def agreement(self, one: Labels, other: Labels, **options: Any) -> Agreement:
        """Of the labels."""
        return agreement_of(one, other, **options)


@dataclass(frozen=True)
class Objects:
    """Single objects, whose maps hold one number each."""

    scores: Mapping[str, Score] = field(default_factory=lambda: INSTANCE_SCORES)

    @property
    def names(self) -> dict[int, str]:
        """All objects together."""
        return {OVERALL: "objects"}

    def rows(
        self, case_id: str, pred: Labels, ref: Labels, spacing_mm: Sequence[float] | None
    ) -> tuple[InstanceRow, ...]:
        """A row an image."""
        del spacing_mm
        return (measure_instances(case_id, pred, ref),)

    def table(self, rows: Iterable[Row]) -> InstanceTable:
        """A table of images."""
        return InstanceTable(cast("Iterable[InstanceRow]", rows))

    def agreement(self, one: Labels, other: Labels, **options: Any) -> Agreement:
        """Of the foreground, and the panoptic quality between the objects of both."""
        inside = options.get("inside")
        pair = (one, other) if inside is None else (one[inside], other[inside])
        found = agreement_of((one > 0).astype("u1"), (other > 0).astype("u1"), **options)
        return replace(found, objects_pq=panoptic_quality(*pair).panoptic_quality)


def score_columns(table: Table, score: str) -> dict[int, dict[str, float]]:
    """A score case by case, by the number of what was measured; under 0 all of it together.

    Example:
        >>> import numpy as np
        >>> ref = np.array([[1, 1, 0, 2]])
        >>> score_columns(InstanceTable([measure_instances("a", ref == 1, ref)]), "ap_50")
        {0: {'a': 0.5}}
    """
    found = table.columns(score, table.empties if isinstance(table, CaseTable) else "diagonal")
    return found if isinstance(table, CaseTable) else {OVERALL: found[1]}


def score_intervals(
    table: Table, scores: Collection[str], resamples: int = RESAMPLES
) -> dict[tuple[int, str], Interval]:
    """The mean of each score with its interval, by number and score: the figures of ``medconv evaluate``.

    Of objects it is the mean over images.
    """
    if isinstance(table, CaseTable):
        return table_intervals(table, scores, resamples=resamples)
    found = table.intervals(scores, resamples=resamples)
    return {(OVERALL, score): found["mean", score] for score in scores}


def aligned(columns: Mapping[str, float], case_ids: Sequence[str]) -> FloatArray:
    """A column in the order of cases; nan where one has no value."""
    values = [columns.get(case, float("nan")) for case in case_ids]
    return np.array(values, dtype=np.float64)
