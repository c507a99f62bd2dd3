"""Folders of NIfTI volumes."""

from __future__ import annotations

from pathlib import Path

from medconv.datamodules.files import FileDataModule
from medconv.io import Dataset, discover


class NiftiDataModule(FileDataModule):
    """Train on a dataset of volumes: Medical Segmentation Decathlon, nnU-Net raw, two folders, or a CSV.

    The arguments are those of ``FileDataModule``; ``root`` is a folder with ``dataset.json``, a folder with ``images``
    and ``labels``, or a CSV with the columns ``image,label[,group]``.
    """

    def find(self, root: Path) -> Dataset:
        """See ``FileDataModule`` and ``medconv.io.discover``."""
        return discover(root)
