"""Whether a file or folder is DICOM, from names and six bytes: no DICOM library is loaded for it."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = (".dcm", ".dicom", ".ima")

_MARK, _MARK_AT = b"DICM", 128


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM by its name or by the mark that DICOM files carry at byte 128.

    Hidden files, other programs' notes such as ``._1.dcm``, and ``DICOMDIR`` indices are not.
    """
    if path.name.startswith(".") or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(_MARK_AT + len(_MARK))[_MARK_AT:] == _MARK
    except OSError:
        return False


def is_series_folder(path: Path) -> bool:
    """Whether a folder directly holds a DICOM file."""
    try:
        return path.is_dir() and any(is_dicom_file(child) for child in path.iterdir())
    except OSError:  # a folder that may not be listed
        return False
