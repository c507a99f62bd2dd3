"""Files in, files out: volumes with their geometry, datasets, and writes that are whole or absent.

``read_volume`` and ``read_labels`` refuse what cannot be trusted and say why; ``write_labels`` puts a mask on
the grid of its image; ``discover`` lists the cases of a dataset; ``geometry`` turns volumes exactly.
"""

from medconv.io.atomic import atomic_path, write_text
from medconv.io.cases import Case, Dataset
from medconv.io.datasets import discover, scan_label_names
from medconv.io.geometry import reorient, require_same_grid, undo_reorient
from medconv.io.layout import ImageLayout
from medconv.io.nifti import (
    Header,
    labels_to_nibabel,
    read_header,
    read_labels,
    read_volume,
    volume_from_array,
    volume_from_nibabel,
    write_volume,
)
from medconv.io.readers import is_volume, read_image, reader_for, stem_of, suffix_of, supported_suffixes
from medconv.io.volume import Volume
from medconv.io.writers import mask_suffix_for, write_labels, write_shares

__all__ = [
    "Case",
    "Dataset",
    "Header",
    "ImageLayout",
    "Volume",
    "atomic_path",
    "discover",
    "is_volume",
    "labels_to_nibabel",
    "mask_suffix_for",
    "read_header",
    "read_image",
    "read_labels",
    "read_volume",
    "reader_for",
    "reorient",
    "require_same_grid",
    "scan_label_names",
    "stem_of",
    "suffix_of",
    "supported_suffixes",
    "undo_reorient",
    "volume_from_array",
    "volume_from_nibabel",
    "write_labels",
    "write_shares",
    "write_text",
    "write_volume",
]
