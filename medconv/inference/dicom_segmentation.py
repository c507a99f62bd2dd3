"""A mask as a DICOM segmentation, for inputs that are DICOM series; imported only where one is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from medconv import __version__
from medconv.errors import ConfigError
from medconv.inference.companions import Place
from medconv.inference.inputs import InputCase
from medconv.inference.prediction import Prediction
from medconv.io.dicom import is_series_folder
from medconv.io.dicom.segmentation import require_highdicom, write_segmentation


@dataclass(frozen=True)
class DicomSegmentation:
    """A file with one segment a label, in the patient and study of the series."""

    place: Place
    needs_probabilities: ClassVar[bool] = False

    def files(self, mask: Path) -> tuple[Path, ...]:
        """One."""
        return (self.place.of(mask, "dicom_seg", ".dcm"),)

    def write(self, prediction: Prediction, mask: Path) -> None:
        """On the slices of the first channel, where there are several."""
        series = prediction.volume.path
        if series is None or not series.is_dir():
            raise ConfigError(f"{prediction.volume.name}: expected a DICOM series for a DICOM segmentation")
        labels = prediction.class_labels.reshape(prediction.volume.shape)
        write_segmentation(self.files(mask)[0], labels, series, prediction.label_names, __version__)


def require_series(cases: Iterable[InputCase]) -> None:
    """Refuse inputs that are no DICOM series, and a machine without highdicom.

    Raises:
        ConfigError: See above.
    """
    require_highdicom()
    for case in cases:
        if not is_series_folder(case.paths[0]):  # OME-Zarr is a folder too
            raise ConfigError(
                f"--dicom-seg: {case.paths[0]} is no DICOM series, so there is no patient and study to refer to; "
                f"give the folders of series, or leave --dicom-seg out"
            )
