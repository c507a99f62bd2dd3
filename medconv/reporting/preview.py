"""A picture of a mask on its image, for the eye that goes over a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy.typing as npt

from medconv.inference.companions import Place
from medconv.inference.prediction import Prediction
from medconv.io import reorient, stem_of
from medconv.io.microscopy.formats import is_microscopy
from medconv.reporting.figure import Picture
from medconv.reporting.instance_drawing import draw_instances
from medconv.reporting.overlays import draw_overlay
from medconv.reporting.size_text import size_text

_UPRIGHT = "RAS"
_NAMES_IN_HEADING = 6

_DRAWING = Lock()
"""Masks are written in several threads; Matplotlib shares fonts between them and guards none."""


@dataclass(frozen=True)
class Preview:
    """Outlines of the labels on three slices of the first channel, as PNG."""

    place: Place
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "preview", ".png"),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """A single slice is drawn as the picture it is; single objects in colours, pixel by pixel."""
        path = self.files(mask)[0]
        if prediction.has_objects:
            draw_instances(*_richest_slice(prediction), path)  # with NumPy alone
        else:
            with _DRAWING:
                draw_prediction(prediction, path, stem_of(mask))


def draw_prediction(prediction: Prediction, path: Path | None = None, title: str = "") -> Picture:
    """Draw the outlines of a prediction on the first channel of its image, whatever way its axes are stored.

    Args:
        prediction: Of ``Predictor.predict``.
        path: Where to write the picture; ``None``: it is only returned.
        title: First line of the heading; the volumes are the second.

    Returns:
        The picture, which a notebook shows.
    """
    if prediction.has_objects:
        return _draw_objects(prediction, path, title)
    volume = prediction.volume
    labels = prediction.labels.reshape(1, *volume.shape)
    note, unit = _sizes(prediction), volume.geometry.unit
    if volume.shape[2] == 1:
        image, spacing_mm = volume.data[0, ..., 0], volume.geometry.spacing_mm[:2]
        return draw_overlay(
            image,
            None,
            labels[0, ..., 0],
            spacing_mm,
            path,
            prediction.label_names,
            title,
            note=note,
            unit=unit,
        )
    upright, geometry = reorient(volume.data[:1], volume.geometry, _UPRIGHT)
    turned, _ = reorient(labels, volume.geometry, _UPRIGHT)
    names = prediction.label_names
    # a specimen under a microscope has no left and right
    shown = None if volume.path is not None and is_microscopy(volume.path) else _UPRIGHT
    return draw_overlay(
        upright[0], None, turned[0], geometry.spacing_mm, path, names, title, shown, note=note, unit=unit
    )


def _draw_objects(prediction: Prediction, path: Path | None, title: str) -> Picture:
    """Every object in a colour that its neighbours have not, with the number of objects in the heading."""
    pixels = draw_instances(*_richest_slice(prediction))
    rows, columns = pixels.shape[:2]
    picture = Picture(figsize=(6.0, 6.0 * rows / columns + 0.5), facecolor="white")
    axes = picture.add_axes((0.02, 0.02, 0.96, 0.96 - 0.5 / picture.get_figheight()))
    axes.imshow(pixels, interpolation="nearest")
    axes.set_axis_off()
    heading = f"{title}   " if title else ""
    axes.set_title(f"{heading}{prediction.num_objects} objects", fontsize=11, parse_math=False)
    if path is not None:
        picture.write(path)
    return picture


def _richest_slice(prediction: Prediction) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The first channel and the objects of the slice in which most is covered by objects; images have one slice."""
    labels = prediction.labels.reshape(prediction.volume.shape)
    z = int((labels > 0).sum(axis=(0, 1)).argmax()) if labels.shape[2] > 1 else 0
    return prediction.volume.data[0, ..., z], labels[..., z]


def _sizes(prediction: Prediction) -> str:
    counts = {name: int((prediction.labels == n).sum()) for n, name in prediction.label_names.items() if n}
    found = {name: voxels for name, voxels in counts.items() if voxels}
    if not found:
        return "no structure found"
    if len(found) > _NAMES_IN_HEADING:
        return f"{len(found)} structures"
    return "   ".join(f"{name} {size_text(voxels, prediction.geometry)}" for name, voxels in found.items())
