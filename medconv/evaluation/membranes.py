"""Membranes in files: masks or probabilities against masks, by the measures of ISBI 2012."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medconv.errors import BadImageError, DatasetError, GeometryError
from medconv.evaluation.pairs import Pair
from medconv.evaluation.read_pair import reader_of
from medconv.metrics import MembraneRow, MembraneTable
from medconv.metrics.membrane import MEMBRANE_THRESHOLDS, measure_membrane

_ROUNDING = 1e-4
"""Probabilities are stored in steps of 1/32768."""

_MOST_LABELS = 32
"""A map with more different values holds grey values."""


@dataclass(frozen=True)
class Membranes:
    """Measure the segments between membranes; see ``measure_membrane``.

    Args:
        label: Which label is membrane.
        thresholds: Of probabilities.
    """

    label: int = 1
    thresholds: tuple[float, ...] = MEMBRANE_THRESHOLDS

    def measure_files(self, pair: Pair) -> list[MembraneRow]:
        """Read and measure one pair: the prediction is a mask, or probabilities as ``predict`` writes them.

        Raises:
            MedconvError: A file cannot be read or holds something else, or both differ in shape.
        """
        prediction = self.read_prediction(pair)
        reference = self._labels(pair, pair.reference)
        if prediction.shape != reference.shape:
            raise GeometryError(
                f"{pair.prediction}: expected the shape {reference.shape} of {pair.reference}, got {prediction.shape}; "
                "pair the right files"
            )
        return measure_membrane(pair.case_id, prediction, reference, self.label, self.thresholds)

    def read_prediction(self, pair: Pair) -> npt.NDArray[Any]:
        """Labels as whole numbers, or the probability of membrane as floating point; ``(*S)``.

        Raises:
            MedconvError: The file cannot be read, or holds something else.
        """
        reader = reader_of(pair, pair.prediction)
        data = reader.read_volume(pair.prediction).data
        if len(data) > 1:
            if self.label >= len(data):
                raise BadImageError(
                    f"{pair.prediction}: expected probabilities of label {self.label}, got {len(data)} channels"
                )
            return self._shares(data[self.label], pair)
        if (data == np.round(data)).all():
            return self._labels(pair, pair.prediction)
        return self._shares(data[0], pair)

    def _labels(self, pair: Pair, path: Path) -> npt.NDArray[Any]:
        """Labels ``(*S)``; grey values, and membrane of another number, are not measured in silence."""
        labels: npt.NDArray[Any] = reader_of(pair, path).read_labels(path).data[0]
        values = np.unique(labels)
        if len(values) > _MOST_LABELS:
            raise BadImageError(
                f"{path}: expected labels, or probabilities of membrane from 0 to 1, got {len(values)} different whole "
                f"numbers up to {values[-1]}; divide by the largest possible one, and turn it round where membrane "
                "is dark"
            )
        if len(values) > 1 and self.label not in values:
            raise BadImageError(
                f"{path}: expected membrane to be {self.label}, got {', '.join(map(str, values))}; say which of them "
                "it is with --membrane-label"
            )
        return labels

    def _shares(self, data: npt.NDArray[Any], pair: Pair) -> npt.NDArray[Any]:
        low, high = float(data.min()), float(data.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise BadImageError(
                f"{pair.prediction}: expected labels, or probabilities of membrane from 0 to 1, got {low:g} to "
                f"{high:g}; divide by the largest value, and turn it round where membrane is dark"
            )
        return np.clip(data, 0, 1)


def finish_membrane_table(rows: Iterable[MembraneRow]) -> MembraneTable:
    """One table of all images; rows at thresholds that not every image has are refused.

    Raises:
        DatasetError: No image could be measured, or masks and probabilities stand side by side.
    """
    table = MembraneTable(rows)
    if not len(table):
        raise DatasetError("expected at least one image that can be measured, got none")
    kinds: dict[frozenset[float], str] = {}
    found: dict[str, set[float]] = {}
    for row in table.rows:
        found.setdefault(row.case_id, set()).add(row.threshold)
    for case, thresholds in found.items():
        kinds.setdefault(frozenset(thresholds), case)
    if len(kinds) > 1:
        raise DatasetError(
            f"expected predictions of one kind, got masks and probabilities ({', '.join(list(kinds.values())[:2])}); "
            "evaluate them apart"
        )
    return table
