"""What is written beside masks of single objects: regions for ImageJ, and properties for a table of the whole run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from medconv.errors import ConfigError
from medconv.inference.companions import Place
from medconv.inference.prediction import Prediction
from medconv.inference.region_properties import Regions, measure_regions
from medconv.io import ImageLayout, read_image, reader_for
from medconv.io.imagej_rois import write_imagej_rois
from medconv.planning import Plan


@dataclass(frozen=True)
class Rois:
    """A ZIP file of regions of interest, one an object, for ImageJ and Fiji."""

    place: Place
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "rois", ".zip"),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """Along the edges of pixels, so that they cover exactly the objects."""
        write_imagej_rois(self.files(mask)[0], prediction.labels.reshape(prediction.volume.shape))


@dataclass(frozen=True)
class RegionCollector:
    """Measures the objects of every mask while it is written, and keeps what it measured until it is taken."""

    found: dict[Path, Regions] = field(default_factory=dict)
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """None: the rows of all masks go into one table."""
        del mask
        return ()

    def write(self, prediction: Prediction, mask: Path) -> None:
        """Measure; nothing is written yet."""
        labels = prediction.labels.reshape(prediction.volume.shape)
        self.found[mask] = measure_regions(labels, prediction.volume)

    def take(self, mask: Path) -> Regions:
        """What was measured of a mask; it is forgotten here."""
        return self.found.pop(mask)


def measure_object_mask(
    paths: Sequence[Path], mask: Path, channels: int, layout: ImageLayout | None = None
) -> Regions:
    """As ``measure_regions``, of a mask that lies in a file already.

    Args:
        paths: Of the image.
        mask: Of the mask.
        channels: Of the image.
        layout: What the user states about axes and pixel size of microscopy files.

    Raises:
        BadImageError: A file cannot be read.
        GeometryError: The mask lies on another grid.
    """
    volume = read_image(paths, channels=channels, layout=layout or ImageLayout())
    labels = reader_for(mask, layout or ImageLayout()).read_labels(mask, like=volume)
    return measure_regions(labels.data[0], volume)


def require_objects(plan: Plan, option: str) -> None:
    """Refuse networks that tell no objects apart.

    Raises:
        ConfigError: The plan has no instances.
    """
    if plan.instances is None:
        raise ConfigError(
            f"{option}: expected a network that tells single objects apart (trained on label maps that number them), "
            f"got one of the labels {', '.join(plan.label_names.values())}; leave {option} out, or use --stats"
        )
