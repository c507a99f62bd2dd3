"""The finished table of membranes: images and thresholds, and the threshold at which a score is best."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import isnan
from types import MappingProxyType
from typing import Any, ClassVar

from medconv.metrics.bootstrap import RESAMPLES, Interval, bootstrap_interval
from medconv.metrics.membrane_rows import MEMBRANE_ROWS, MembraneRow
from medconv.metrics.row_table import RowTable, keep_once
from medconv.metrics.row_text import RowText
from medconv.metrics.scores import MEMBRANE_SCORES, Empties, Score
from medconv.metrics.summary import mean

MEMBRANE_CONVENTION = (
    "ISBI 2012, segments between membranes (4-connected), of the prediction after thinning borders to a line, where "
    "the reference has segments; slice by slice, mean over images, at the threshold with the best mean"
)
"""How segments are compared; printed with every table."""


@dataclass(frozen=True)
class MembraneSummary:
    """The means at the best threshold, which is chosen for the Rand and the information scores each.

    Args:
        n_images: Different images in the table.
        n_without_segments: Images whose reference has no segment; they are in no mean.
        best_thresholds: Threshold of each score.
        mean: Every score of ``MEMBRANE_SCORES`` at its best threshold; nan if no image has it.
        by_threshold: The means at every threshold.
    """

    n_images: int
    n_without_segments: int
    best_thresholds: Mapping[str, float]
    mean: Mapping[str, float]
    by_threshold: Mapping[float, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the scores as ``mean_v_rand`` and so on."""
        return {
            "n_images": self.n_images,
            "n_without_segments": self.n_without_segments,
            "best_threshold_v_rand": self.best_thresholds["v_rand"],
            "best_threshold_v_info": self.best_thresholds["v_info"],
            **{f"mean_{name}": value for name, value in self.mean.items()},
            "by_threshold": {f"{t:g}": dict(values) for t, values in self.by_threshold.items()},
        }


class MembraneTable(RowTable[MembraneRow]):
    """Rows (image × slice × threshold), in the order of their names, whatever the order in which they were measured.

    Args:
        rows: In any order; what comes several times is kept once, if it measures the same.

    Raises:
        DatasetError: Two rows contradict each other.

    Example:
        >>> import numpy as np
        >>> from medconv.metrics import measure_membrane
        >>> ref = np.zeros((9, 9), np.uint8)
        >>> ref[:, 4] = 1
        >>> blurred = np.where(ref, 0.6, 0.1)
        >>> table = MembraneTable(measure_membrane("a", blurred, ref))
        >>> table.summary().mean["v_rand"], table.summary().best_thresholds["v_rand"]
        (1.0, 0.2)
    """

    __slots__ = ()
    text: ClassVar[RowText[MembraneRow]] = MEMBRANE_ROWS
    scores: ClassVar[Mapping[str, Score]] = MappingProxyType(MEMBRANE_SCORES)
    compared: ClassVar[tuple[str, ...]] = ("v_rand", "v_info")

    def __init__(self, rows: Iterable[MembraneRow]) -> None:
        super().__init__(sorted(keep_once(rows, MEMBRANE_ROWS), key=lambda row: row.key))

    def __repr__(self) -> str:
        return f"MembraneTable({len(self.case_ids)} images, {len(self.thresholds)} thresholds)"

    @property
    def thresholds(self) -> tuple[float, ...]:
        """All that occur, ascending."""
        return tuple(sorted({row.threshold for row in self._rows}))

    @property
    def label_names(self) -> Mapping[int, str]:
        """What was measured: the segments, under 1."""
        return MappingProxyType({1: "segments"})

    @property
    def convention(self) -> str:
        """How segments are compared, in words."""
        return MEMBRANE_CONVENTION

    def of_cases(self, case_ids: Collection[str]) -> MembraneTable:
        """The part of the table that speaks of these images."""
        wanted = set(case_ids)
        return MembraneTable(row for row in self._rows if row.case_id in wanted)

    def of_labels(self, labels: Collection[int]) -> MembraneTable:
        """The table itself, or nothing: it has no other structure than 1, the segments."""
        return MembraneTable(self._rows if 1 in labels else ())

    def at_threshold(self, score: str, threshold: float) -> dict[str, float]:
        """A score image by image, as the mean over slices."""
        found: dict[str, list[float]] = {case: [] for case in self.case_ids}
        for row in self._rows:
            if row.threshold == threshold:
                found[row.case_id].append(row.scores[score])
        return {case: mean(values) for case, values in found.items()}

    def columns(self, score: str, empties: Empties | float = "diagonal") -> dict[int, dict[str, float]]:
        """A score image by image at the table's best threshold, under 1; ``empties`` concerns distances only."""
        del empties
        return {1: self.at_threshold(score, self.best_threshold(score))}

    def best_threshold(self, score: str) -> float:
        """Where the mean of ``v_rand`` (for the Rand scores) or ``v_info`` is highest; the lowest of equal ones."""
        family = "_".join(score.split("_")[:2])
        means = {t: mean(self.at_threshold(family, t).values()) for t in self.thresholds}
        return max(means, key=lambda t: (not isnan(means[t]), means[t], -t))

    def summary(self) -> MembraneSummary:
        """The numbers to report."""
        by_threshold = {
            t: {name: mean(self.at_threshold(name, t).values()) for name in MEMBRANE_SCORES}
            for t in self.thresholds
        }
        best = {name: self.best_threshold(name) for name in MEMBRANE_SCORES} if by_threshold else {}
        empty = {row.case_id for row in self._rows} - {row.case_id for row in self._rows if row.pixels}
        return MembraneSummary(
            n_images=len(self.case_ids),
            n_without_segments=len(empty),
            best_thresholds=best,
            mean={name: by_threshold[t][name] for name, t in best.items()},
            by_threshold=by_threshold,
        )

    def intervals(
        self, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
    ) -> dict[str, Interval]:
        """The mean of each score at its best threshold with its percentile bootstrap interval over images.

        The threshold is not chosen anew in each resample.
        """
        return {
            name: bootstrap_interval(list(self.columns(name)[1].values()), confidence, resamples, seed)
            for name in (MEMBRANE_SCORES if self._rows else ())
        }

    def worst_first(self, score: str = "v_rand") -> list[str]:
        """The images by a score at its best threshold, lowest first; those without any last."""
        column = self.columns(score)[1] if self._rows else {}
        return sorted(column, key=lambda case: (isnan(column[case]), column[case], case))

    def head(self) -> dict[str, Any]:
        """Convention, summary and intervals."""
        intervals = {name: [found.low, found.high] for name, found in self.intervals().items()}
        summary = self.summary().to_dict() if self._rows else {}
        return {
            "conventions": {"segments": MEMBRANE_CONVENTION},
            "summary": summary,
            "intervals_95": intervals,
        }

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> MembraneTable:
        """Read a table that ``to_csv`` wrote.

        Raises:
            DatasetError: The file is absent, no such table, empty, or contradicts itself; the text names it.
        """
        return cls._read(path)
