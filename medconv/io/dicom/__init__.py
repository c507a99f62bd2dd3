"""DICOM series: a folder of slices becomes one volume, if the slices truly stack.

Importing this package loads no DICOM library; ``medconv.io.readers`` loads ``read`` when a series is read.
"""

from medconv.io.dicom.recognise import is_dicom_file, is_series_folder

__all__ = ["is_dicom_file", "is_series_folder"]
