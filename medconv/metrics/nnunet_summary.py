"""A table in the shape of nnU-Net's ``summary.json``, for scripts that read that file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import nan
from typing import Any

from medconv.errors import DatasetError
from medconv.metrics.case_table import CaseTable
from medconv.metrics.rows import CaseRow
from medconv.metrics.summary import in_the_mean, mean

_KEYS = ("Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref")


def nnunet_summary(table: CaseTable, files: Mapping[str, tuple[str, str]] | None = None) -> dict[str, Any]:
    """The keys ``foreground_mean``, ``mean`` and ``metric_per_case`` as nnU-Net v2 writes them.

    Dice and IoU of a structure in neither map are nan, and nan is left out of every mean; nnU-Net's own
    ``foreground_mean`` becomes nan as soon as one class occurs nowhere, this one does not. Distances have no
    place in that file.

    Args:
        table: Measured with voxel counts, as ``measure_case`` does.
        files: Prediction and reference of each case; without, the names of cases stand there.

    Raises:
        DatasetError: The table was written before voxels were counted.

    Returns:
        Plain values; nan stands for a score that is not defined, as in nnU-Net's file.

    Example:
        >>> row = CaseRow("a", 1, "x", .5, 1, 1, False, False, 1, 1, 9, iou=1 / 3, tp_voxels=2, ref_voxels=4,
        ...               pred_voxels=4, image_voxels=100)
        >>> nnunet_summary(CaseTable([row]))["mean"]["1"]["TN"]
        94.0
    """
    cases: dict[str, dict[str, Any]] = {}
    for row in table.rows:
        pred_file, ref_file = (files or {}).get(row.case_id, (row.case_id, row.case_id))
        case = cases.setdefault(
            row.case_id, {"metrics": {}, "prediction_file": pred_file, "reference_file": ref_file}
        )
        case["metrics"][_key(row.label, table.label_names)] = _metrics(row)
    keys = {label: _key(label, table.label_names) for label in table.label_names}
    means = {
        key: _mean_of(case["metrics"][key] for case in cases.values() if key in case["metrics"])
        for key in keys.values()
    }
    counted = in_the_mean(keys)
    return {
        "foreground_mean": _mean_of(means[key] for label, key in keys.items() if label in counted),
        "mean": means,
        "metric_per_case": list(cases.values()),
    }


def _key(label: int, names: Mapping[int, str]) -> str:
    return str(label) if label > 0 else names[label]


def _metrics(row: CaseRow) -> dict[str, float]:
    tp, ref, pred, every = row.tp_voxels, row.ref_voxels, row.pred_voxels, row.image_voxels
    if min(tp, ref, pred, every) < 0:
        raise DatasetError(
            f"case {row.case_id}, {row.name}: expected voxel counts, got none; measure the case again"
        )
    counts = (row.dice, ref - tp, pred - tp, row.iou, every - ref - pred + tp, tp, pred, ref)
    return dict(zip(_KEYS, counts, strict=True))


def _mean_of(entries: Iterable[Mapping[str, float]]) -> dict[str, float]:
    listed = list(entries)
    return {key: mean(entry[key] for entry in listed) if listed else nan for key in _KEYS}
