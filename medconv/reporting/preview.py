"""A picture of a mask on its image, for the eye that goes over a folder of results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from medconv.inference.companions import Place
from medconv.inference.prediction import Prediction
from medconv.io import reorient, stem_of
from medconv.reporting.figure import Picture
from medconv.reporting.overlays import draw_overlay

_UPRIGHT = "RAS"
_NAMES_IN_HEADING = 6


@dataclass(frozen=True)
class Preview:
    """Outlines of the labels on three slices of the first channel, as PNG."""

    place: Place
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "preview", ".png"),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """A single slice is drawn as the picture it is."""
        draw_prediction(prediction, self.files(mask)[0], stem_of(mask))


def draw_prediction(prediction: Prediction, path: Path | None = None, title: str = "") -> Picture:
    """Draw the outlines of a prediction on the first channel of its image, whatever way its axes are stored.

    Args:
        prediction: Of ``Predictor.predict``.
        path: Where to write the picture; ``None``: it is only returned.
        title: First line of the heading; the volumes are the second.

    Returns:
        The picture, which a notebook shows.
    """
    volume = prediction.volume
    labels = prediction.labels.reshape(1, *volume.shape)
    note = _volumes(prediction)
    if volume.shape[2] == 1:
        image, spacing_mm = volume.data[0, ..., 0], volume.geometry.spacing_mm[:2]
        return draw_overlay(
            image, None, labels[0, ..., 0], spacing_mm, path, prediction.label_names, title, note=note
        )
    upright, geometry = reorient(volume.data[:1], volume.geometry, _UPRIGHT)
    turned, _ = reorient(labels, volume.geometry, _UPRIGHT)
    names = prediction.label_names
    return draw_overlay(
        upright[0], None, turned[0], geometry.spacing_mm, path, names, title, _UPRIGHT, note=note
    )


def _volumes(prediction: Prediction) -> str:
    found = {name: ml for name, ml in prediction.volumes_ml.items() if ml}
    if not found:
        return "no structure found"
    if len(found) > _NAMES_IN_HEADING:
        return f"{len(found)} structures"
    return "   ".join(f"{name} {ml:.3g} ml" for name, ml in found.items())
