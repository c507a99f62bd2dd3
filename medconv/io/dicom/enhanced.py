"""Enhanced DICOM files: a whole volume in one file, its slices the frames, each described in groups of attributes.

What a frame says of itself, or all frames share, is laid out as the header of a slice, so that frames are examined by
the same rules as slices.

Source: DICOM PS3.3 C.7.6.16, multi-frame functional groups.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from medconv.errors import BadImageError

_GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept"),
}


def is_enhanced(header: Dataset) -> bool:
    """Whether a file describes its frames one by one."""
    return "PerFrameFunctionalGroupsSequence" in header


def frames_as_slices(path: Path, name: str) -> dict[Path, Dataset]:
    """The header of each frame as if it were a slice, under a path that names the frame.

    Args:
        path: Of an enhanced file.
        name: What errors call the volume.

    Raises:
        BadImageError: The file describes another number of frames than it holds.
    """
    dataset = dcmread(path, stop_before_pixels=True)
    frames = dataset.PerFrameFunctionalGroupsSequence
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    count = int(dataset.get("NumberOfFrames") or 1)
    if len(frames) != count:
        raise BadImageError(
            f"{name}: {path.name} holds {count} frame(s) and describes {len(frames)}; copy it again from its source"
        )
    return {
        path.with_name(f"{path.name} frame {number}"): _as_slice(dataset, (frame, shared[0]))
        for number, frame in enumerate(frames, start=1)
    }


def _as_slice(dataset: Dataset, groups: tuple[Dataset, Dataset]) -> Dataset:
    header = Dataset()
    header.Rows, header.Columns = dataset.Rows, dataset.Columns
    for group, tags in _GROUPS.items():
        for tag in tags:
            if (value := _first(groups, group, tag)) is not None:
                setattr(header, tag, value)
    return header


def _first(groups: tuple[Dataset, Dataset], group: str, tag: str) -> Any:
    """What the frame says, else what all frames share."""
    for item in groups:
        found = item.get(group) or [Dataset()]
        if found[0].get(tag) is not None:
            return found[0].get(tag)
    return None
