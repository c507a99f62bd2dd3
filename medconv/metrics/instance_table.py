"""The finished table of single objects: a row an image, and two summaries that must not be confused."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import fsum, isnan, nan
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np

from medconv.metrics.bootstrap import RESAMPLES, Interval, limits, resample_means
from medconv.metrics.instance_rows import INSTANCE_ROWS, InstanceRow, instance_counts, instance_figures
from medconv.metrics.row_table import RowTable, keep_once
from medconv.metrics.row_text import RowText
from medconv.metrics.scores import INSTANCE_SCORES, Empties, Score, check_scores
from medconv.metrics.summary import mean
from medconv.types import FloatArray

INSTANCE_CONVENTION = (
    "objects found where the IoU is at least the threshold, each object in one pair at most; PQ, SQ and RQ of pairs "
    "above 0.5; AP = TP / (TP + FP + FN)"
)
"""How objects are matched; printed with every table."""

Over = Literal["mean", "pooled"]
"""Whether a figure is the mean of the images' figures, or one figure of all objects together."""


@dataclass(frozen=True)
class InstanceSummary:
    """Every score twice: as the mean over images, and over the objects of all images together.

    In the *mean* an image with one object weighs as much as one with a hundred (2018 Data Science Bowl, Cellpose);
    *pooled*, every object weighs the same (StarDist). An image without any object on either side has no score and
    is in no mean; one in which all objects were missed, or that has none and in which some were invented, scores 0.

    Args:
        n_images: Different images in the table.
        n_both_empty: Without an object on either side.
        n_empty_reference: With objects in the prediction only.
        n_empty_prediction: With objects in the reference only.
        ref_objects: Objects in all references.
        pred_objects: Objects in all predictions.
        found: Pairs at a threshold of 0.5.
        ignored_voxels: Voxels that no reference says anything about.
        mean: Every score of ``INSTANCE_SCORES`` as the mean over images; nan if no image has it.
        pooled: Every score of all objects together; splits and merges are totals.
    """

    n_images: int
    n_both_empty: int
    n_empty_reference: int
    n_empty_prediction: int
    ref_objects: int
    pred_objects: int
    found: int
    ignored_voxels: int
    mean: Mapping[str, float]
    pooled: Mapping[str, float]

    @property
    def missed(self) -> int:
        """Reference objects without a partner at a threshold of 0.5."""
        return self.ref_objects - self.found

    @property
    def invented(self) -> int:
        """Predicted objects without a partner at a threshold of 0.5."""
        return self.pred_objects - self.found

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the scores as ``mean_ap_50``, ``pooled_ap_50`` and so on."""
        plain = {k: v for k, v in asdict(self).items() if k not in ("mean", "pooled")}
        plain |= {"missed": self.missed, "invented": self.invented}
        for over in ("mean", "pooled"):
            plain |= {f"{over}_{name}": value for name, value in getattr(self, over).items()}
        return plain


class InstanceTable(RowTable[InstanceRow]):
    """Rows (one an image) in the order of their names, whatever the order in which they were measured.

    Args:
        rows: In any order; an image that comes several times is kept once, if it measures the same.

    Raises:
        DatasetError: Two rows contradict each other.

    Example:
        >>> from medconv.metrics import measure_instances
        >>> ref = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
        >>> table = InstanceTable([measure_instances("a", ref, ref), measure_instances("b", ref == 1, ref)])
        >>> table.summary().mean["ap_50"], round(table.summary().pooled["ap_50"], 3)
        (0.75, 0.75)
        >>> table.summary().missed
        1
    """

    __slots__ = ()
    text: ClassVar[RowText[InstanceRow]] = INSTANCE_ROWS
    scores: ClassVar[Mapping[str, Score]] = MappingProxyType(INSTANCE_SCORES)
    compared: ClassVar[tuple[str, ...]] = ("ap", "ap_50", "pq")

    def __init__(self, rows: Iterable[InstanceRow]) -> None:
        super().__init__(sorted(keep_once(rows, INSTANCE_ROWS), key=lambda row: row.case_id))

    def __repr__(self) -> str:
        objects = sum(row.ref_objects for row in self._rows)
        return f"InstanceTable({len(self)} images, {objects} reference objects)"

    @property
    def label_names(self) -> Mapping[int, str]:
        """What was measured: all objects together, under 1."""
        return MappingProxyType({1: "objects"})

    @property
    def convention(self) -> str:
        """How objects are matched, in words."""
        return INSTANCE_CONVENTION

    def of_cases(self, case_ids: Collection[str]) -> InstanceTable:
        """The part of the table that speaks of these images."""
        wanted = set(case_ids)
        return InstanceTable(row for row in self._rows if row.case_id in wanted)

    def of_labels(self, labels: Collection[int]) -> InstanceTable:
        """The table itself, or nothing: it has no other structure than 1, the objects."""
        return InstanceTable(self._rows if 1 in labels else ())

    def columns(self, score: str, empties: Empties | float = "diagonal") -> dict[int, dict[str, float]]:
        """A score image by image, under 1; ``empties`` concerns distances, which this table has none of."""
        del empties
        return {1: {row.case_id: row.scores[score] for row in self._rows}}

    def summary(self) -> InstanceSummary:
        """The numbers to report."""
        rows = self._rows
        figures = instance_figures(instance_counts(rows))
        pooled = instance_figures({k: _exact_sum(v) for k, v in instance_counts(rows).items()})
        return InstanceSummary(
            n_images=len(rows),
            n_both_empty=sum(not row.ref_objects and not row.pred_objects for row in rows),
            n_empty_reference=sum(not row.ref_objects and row.pred_objects > 0 for row in rows),
            n_empty_prediction=sum(row.ref_objects > 0 and not row.pred_objects for row in rows),
            ref_objects=sum(row.ref_objects for row in rows),
            pred_objects=sum(row.pred_objects for row in rows),
            found=sum(row.tp[0] for row in rows),
            ignored_voxels=sum(row.ignored_voxels for row in rows),
            mean={name: mean(values.tolist()) for name, values in figures.items()},
            pooled={name: float(value[0]) if rows else nan for name, value in pooled.items()},
        )

    def intervals(
        self,
        scores: Collection[str] = ("ap", "ap_50", "ap_75", "pq"),
        confidence: float = 0.95,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> dict[tuple[Over, str], Interval]:
        """Both figures of each score with percentile bootstrap intervals; whole images are drawn, not objects.

        Args:
            scores: Names of ``INSTANCE_SCORES``.
            confidence: Share of resamples inside the limits.
            resamples: How many.
            seed: Of the draws, which all scores share.

        Raises:
            UnknownNameError: There is no such score.
            ConfigError: Confidence or resamples out of range.

        Returns:
            ``("mean", score)`` and ``("pooled", score)`` to interval; no limits with fewer than two images.

        Cost:
            0.2 s for 200 images.
        """
        chosen = [score.name for score in check_scores(scores, INSTANCE_SCORES)]
        if not self._rows:
            return {}
        counts, summary = instance_counts(self._rows), self.summary()
        by_image = instance_figures(counts)
        columns = [by_image[name][:, None] for name in chosen]
        columns += [values.reshape(len(self), -1) for values in counts.values()]
        drawn = resample_means(np.concatenate(columns, axis=1), resamples, seed)
        pooled = instance_figures(_split(len(self) * drawn[:, len(chosen) :], counts))
        found: dict[tuple[Over, str], Interval] = {}
        for place, name in enumerate(chosen):
            several = int((~np.isnan(by_image[name])).sum()) > 1
            sides = (("mean", summary.mean, drawn[:, place]), ("pooled", summary.pooled, pooled[name]))
            for over, figure, samples in sides:
                low, high = limits(samples, confidence) if several else (nan, nan)
                found[over, name] = Interval(figure[name], low, high)  # type: ignore[index]
        return found

    def worst_first(self, score: str = "ap_50") -> list[str]:
        """The images by a score, lowest first, of equal ones that with more objects; those without any last."""

        def place(row: InstanceRow) -> tuple[bool, float, int, str]:
            value = row.scores[score]
            return isnan(value), value, -max(row.ref_objects, row.pred_objects), row.case_id

        return [row.case_id for row in sorted(self._rows, key=place)]

    def head(self) -> dict[str, Any]:
        """Convention, summary and intervals."""
        intervals = {
            f"{over}_{name}": [found.low, found.high] for (over, name), found in self.intervals().items()
        }
        return {
            "conventions": {"matching": INSTANCE_CONVENTION},
            "summary": self.summary().to_dict(),
            "intervals_95": intervals,
        }

    @classmethod
    def from_csv(cls, path: str | os.PathLike[str]) -> InstanceTable:
        """Read a table that ``to_csv`` wrote.

        Raises:
            DatasetError: The file is absent, no such table, empty, or contradicts itself; the text names it.
        """
        return cls._read(path)


def _exact_sum(values: FloatArray) -> FloatArray:
    """Over images; rounded once, so that neither their order nor the number of processes shows."""
    return np.array([fsum(values) if values.ndim == 1 else [fsum(column) for column in values.T]])


def _split(drawn: FloatArray, like: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Columns side by side as the columns they were made of."""
    found, start = {}, 0
    for name, values in like.items():
        width = 1 if values.ndim == 1 else values.shape[1]
        part = drawn[:, start : start + width]
        found[name], start = part[:, 0] if values.ndim == 1 else part, start + width
    return found
