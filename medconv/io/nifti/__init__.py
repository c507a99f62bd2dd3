"""NIfTI files: everything that can be wrong with them is found here, before memory is taken."""

from medconv.io.nifti.header import MAX_VOXELS, Header
from medconv.io.nifti.label_table import label_names_in_header, label_table_xml
from medconv.io.nifti.read import (
    read_header,
    read_label_names,
    read_labels,
    read_volume,
    volume_from_array,
    volume_from_nibabel,
)
from medconv.io.nifti.write import labels_to_nibabel, write_labels, write_volume

__all__ = [
    "MAX_VOXELS",
    "Header",
    "label_names_in_header",
    "label_table_xml",
    "labels_to_nibabel",
    "read_header",
    "read_label_names",
    "read_labels",
    "read_volume",
    "volume_from_array",
    "volume_from_nibabel",
    "write_labels",
    "write_volume",
]
