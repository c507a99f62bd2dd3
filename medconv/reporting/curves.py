"""The course of a training run: loss and scores over epochs, from the table that the CSV logger wrote."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes

from medconv.errors import DatasetError
from medconv.lengths import ShownUnit
from medconv.metrics.length_unit import factor_in
from medconv.reporting.figure import CLASS_COLOURS, Picture

Curve = dict[float, float]
"""Value by epoch."""

_PANELS = {"loss": "loss", "dice": "Dice", "hd95_mm": "HD95", "hd_mm": "HD"}
"""What a column's name contains → the axis it is drawn on; other columns are no curves of progress."""


def draw_curves(
    metrics: str | os.PathLike[str] | Iterable[Mapping[str, str]],
    path: str | os.PathLike[str] | None = None,
    title: str = "",
    unit: ShownUnit = "mm",
) -> Picture:
    """Draw every logged loss, Dice and Hausdorff distance over the epochs, a panel for each kind.

    Args:
        metrics: The ``metrics.csv`` of a run, or its rows: a column ``epoch``, one column a quantity such as
            ``train/loss`` or ``val/dice``, blank where it was not logged. The last value of an epoch counts.
        path: Where to write the picture; the suffix names the format. ``None``: it is only returned.
        title: Heading.
        unit: What distances are shown in; the table has them in mm. See ``medconv.metrics.length_unit``.

    Raises:
        DatasetError: There is no curve to draw.

    Returns:
        The picture, which a notebook shows.

    Example:
        >>> rows = [{"epoch": "0", "train/loss": "0.9"}, {"epoch": "0", "val/dice": "0.5"}]
        >>> [ax.get_ylabel() for ax in draw_curves(rows).axes]
        ['loss', 'Dice']
    """
    curves = read_curves(_rows(metrics))
    panels = [kind for kind in _PANELS if any(_kind(name) == kind for name in curves)]
    if not panels:
        raise DatasetError(
            f"expected columns 'epoch' and one with {', '.join(_PANELS)} in its name, and a value at least; "
            "got none: has the run logged anything yet?"
        )
    picture = Picture(figsize=(4.6 * len(panels), 3.4), layout="constrained", facecolor="white")
    for ax, kind in zip(picture.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        factor, label = factor_in(kind, unit), _PANELS[kind]
        shown = {
            name: {epoch: value * factor for epoch, value in curve.items()}
            for name, curve in curves.items()
            if _kind(name) == kind
        }
        _draw(ax, shown, f"{label} / {unit}" if kind.endswith("_mm") else label)
    if title:
        picture.suptitle(title, fontsize=11, parse_math=False)
    if path is not None:
        picture.write(path)
    return picture


def read_curves(rows: Iterable[Mapping[str, str]]) -> dict[str, Curve]:
    """The values of every column by epoch; rows without an epoch and blank cells are left out.

    Example:
        >>> read_curves([{"epoch": "0", "val/dice": "0.5"}, {"epoch": "1", "val/dice": ""}])
        {'val/dice': {0.0: 0.5}}
    """
    curves: dict[str, Curve] = defaultdict(dict)
    for row in rows:
        for name, text in row.items():
            if name not in ("epoch", "step") and text and row.get("epoch"):
                curves[name][float(row["epoch"])] = float(text)
    return dict(curves)


def _rows(metrics: str | os.PathLike[str] | Iterable[Mapping[str, str]]) -> list[Mapping[str, str]]:
    if not isinstance(metrics, str | os.PathLike):
        return list(metrics)
    with Path(metrics).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _kind(name: str) -> str | None:
    return next((kind for kind in _PANELS if kind in name), None)


def _draw(ax: Axes, curves: Mapping[str, Curve], label: str) -> None:
    for i, (name, curve) in enumerate(sorted(curves.items())):
        epochs = sorted(curve)
        ax.plot(
            epochs,
            [curve[e] for e in epochs],
            color=CLASS_COLOURS[i % len(CLASS_COLOURS)],
            # a run of one epoch is a point and would be no line
            marker="o" if len(epochs) < 30 else None,
            markersize=3,
            label=name,
        )
    ax.set_xlabel("epoch")
    ax.set_ylabel(label)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    for text in ax.legend(fontsize=7, frameon=False).get_texts():
        text.set_parse_math(False)
