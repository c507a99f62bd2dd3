"""Write labels as a DICOM segmentation with highdicom, which the extra ``dicom-seg`` installs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io.atomic import atomic_path
from medconv.io.dicom.series import read_series
from medconv.io.nifti.label_table import label_colour, printable

try:
    import highdicom
except ImportError:
    highdicom = None  # type: ignore[assignment]

_MANUFACTURER = "medconv"
_SERIES_NUMBER = 9001
"""Far from the numbers that scanners give."""
_LONGEST_LABEL = 64
"""Characters of a long string (LO)."""
_NEEDED = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
)
"""Attributes that may be empty, but must be there (type 2)."""


def require_highdicom() -> None:
    """Say what to install, if it is not.

    Raises:
        ConfigError: highdicom is missing.
    """
    if highdicom is None:
        raise ConfigError("DICOM segmentations need highdicom; pip install 'medconv[dicom-seg]'")


def write_segmentation(
    path: str | Path,
    labels: npt.NDArray[Any],
    series: str | Path,
    label_names: Mapping[int, str],
    version: str,
) -> None:
    """Write one binary segment a label, in the patient, study and frame of reference of the series.

    Segments are coded as anatomical structures; what they are is in their label, because names of labels are no
    codes. Slices without any label are left out, as the standard allows.

    Args:
        path: Of the file; it appears whole or not at all.
        labels: ``(X, Y, Z)`` on the grid of the series, as ``read_volume`` gives it.
        series: The folder of the series.
        label_names: Value to name, 0 the background; every other one becomes a segment.
        version: Of the program, for the record in the file.

    Raises:
        ConfigError: highdicom is not installed.
        GeometryError: The shape is not that of the series.
        BadImageError: The series cannot be read, or lacks what a segmentation must repeat.
    """
    require_highdicom()
    stack = read_series(series)
    if labels.shape != stack.shape:
        raise GeometryError(f"{series}: expected labels of its shape {stack.shape}, got {labels.shape}")
    sources = [_source(source) for source in stack.paths]
    values = [value for value in sorted(label_names) if value]
    numbered = np.zeros(max(label_names) + 1, labels.dtype)
    numbered[values] = np.arange(1, len(values) + 1)
    frames = numbered[labels.transpose(2, 1, 0)]
    if stack.frames:  # as they are numbered in the file
        frames = frames[np.argsort(stack.frames)]
    try:
        segmentation = highdicom.seg.Segmentation(
            source_images=sources,
            pixel_array=frames,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, label_names[value], value, version)
                for number, value in enumerate(values, start=1)
            ],
            series_instance_uid=generate_uid(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=_MANUFACTURER,
            manufacturer_model_name=_MANUFACTURER,
            software_versions=version,
            device_serial_number="0",
            series_description="medconv segmentation",
            omit_empty_frames=bool(frames.any()),
        )
    except (AttributeError, ValueError, KeyError) as error:
        raise BadImageError(f"{series}: cannot be the source of a DICOM segmentation ({error})") from error
    with atomic_path(path) as temporary:
        segmentation.save_as(temporary)


def _source(path: Path) -> Dataset:
    dataset = dcmread(path, stop_before_pixels=True)
    for name in _NEEDED:
        if name not in dataset:
            setattr(dataset, name, "")
    return dataset


def _segment(number: int, name: str, value: int, version: str) -> Any:
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=_MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=version
    )
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=printable(name)[:_LONGEST_LABEL],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.AnatomicalStructure,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=highdicom.color.CIELabColor.from_rgb(*(round(255 * c) for c in label_colour(value))),
    )
