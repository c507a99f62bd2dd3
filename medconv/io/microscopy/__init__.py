"""Microscopy images and stacks: PNG, JPEG, BMP, TIFF, OME-TIFF and OME-Zarr as volumes of rows, columns, slices."""

from medconv.io.microscopy.read import read_header, read_label_names, read_labels, read_volume
from medconv.io.microscopy.write import write_labels, write_shares

__all__ = ["read_header", "read_label_names", "read_labels", "read_volume", "write_labels", "write_shares"]
