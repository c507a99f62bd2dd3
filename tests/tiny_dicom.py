"""DICOM series as scanners write them, slice by slice, with whatever is to be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (7, 6, 5)
"""Columns, rows, slices."""
ROW = np.array([0.8, 0.6, 0.0])
COLUMN = np.array([-0.48, 0.64, 0.6])
NORMAL = np.cross(ROW, COLUMN)
FIRST = np.array([-20.5, 31.25, 7.0])
SPACING_MM = (1.5, 0.75, 2.5)
"""Between columns, rows, slices."""


def stored_voxels() -> np.ndarray:
    """``(X, Y, Z)`` int16, every voxel different."""
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 60


def save_series(
    folder: Path, change: Callable[[int, Dataset], None] | None = None, slices: int = SHAPE[2], **tags: Any
) -> Path:
    """Write an oblique CT series whose file names say nothing about its order.

    Args:
        folder: Made if it is absent.
        change: Gets the number of a slice and its dataset before it is written.
        slices: How many.
        tags: For every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = (
        generate_uid(entropy_srcs=["tiny", word]) for word in ("series", "study", "frame")
    )
    voxels = stored_voxels()
    for number in range(slices):
        dataset = _slice(voxels[:, :, number % SHAPE[2]], number)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = (
            series,
            study,
            frame,
        )
        for tag, value in tags.items():
            setattr(dataset, tag, value)
        if change is not None:
            change(number, dataset)
        dataset.save_as(folder / f"{(number * 3 + 1) % slices:03d}.dcm", enforce_file_format=True)
    return folder


ORDER = (3, 0, 4, 1, 2)
"""Which slice each frame of an enhanced file shows."""


def save_enhanced(
    folder: Path, change: Callable[[Dataset], None] | None = None, order: tuple[int, ...] = ORDER, **tags: Any
) -> Path:
    """Write the voxels of ``save_series`` as one enhanced MR file, each frame with its own place and scaling.

    Args:
        folder: Made if it is absent.
        change: Gets the dataset before it is written.
        order: Which slice each frame shows.
        tags: Of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    voxels = stored_voxels()
    dataset = _slice(voxels[:, :, 0], 0)
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, tag)
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.SOPClassUID, dataset.Modality, dataset.NumberOfFrames = EnhancedMRImageStorage, "MR", len(order)
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = (
        generate_uid(entropy_srcs=["enhanced", word]) for word in ("series", "study", "frame")
    )
    measures = _item(PixelSpacing=[SPACING_MM[1], SPACING_MM[0]], SliceThickness=5.0)
    shared = _item(
        PlaneOrientationSequence=[_item(ImageOrientationPatient=[*ROW, *COLUMN])],
        PixelMeasuresSequence=[measures],
    )
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame(number) for number in order]
    pixels = voxels.transpose(2, 1, 0)[list(order)]
    dataset.PixelData = pixels.astype("<i2").tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    if change is not None:
        change(dataset)
    dataset.save_as(folder / "all.dcm", enforce_file_format=True)
    return folder


def _frame(number: int) -> Dataset:
    place = [round(float(v), 6) for v in FIRST + number * SPACING_MM[2] * NORMAL]
    scale = _item(RescaleSlope=number + 1, RescaleIntercept=-number, RescaleType="US")
    return _item(
        PlanePositionSequence=[_item(ImagePositionPatient=place)], PixelValueTransformationSequence=[scale]
    )


def _item(**tags: Any) -> Dataset:
    dataset = Dataset()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    return dataset


def _slice(voxels: np.ndarray, number: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["tiny", str(number)])
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "tiny", "Nobody^At^All"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.AccessionNumber = dataset.StudyID = ""
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 3, number + 1, "chest"
    dataset.ImagePositionPatient = [round(float(v), 6) for v in FIRST + number * SPACING_MM[2] * NORMAL]
    dataset.ImageOrientationPatient = [*ROW, *COLUMN]
    dataset.PixelSpacing = [SPACING_MM[1], SPACING_MM[0]]  # of rows, then of columns
    dataset.SliceThickness = 5.0  # twice the distance: slices overlap, and positions decide
    dataset.Rows, dataset.Columns = voxels.shape[::-1]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1000
    dataset.PixelData = voxels.T.astype("<i2").tobytes()
    return dataset
