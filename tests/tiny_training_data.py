"""For tests: patches so small that an epoch takes a blink."""

from __future__ import annotations

from pathlib import Path

from medconv.datamodules import NiftiDataModule


def tiny_data(root: Path, folder: Path, steps: int) -> NiftiDataModule:
    """Two patches of 8 voxels along each axis a step; prepared cases lie in a folder."""
    return NiftiDataModule(
        root, patch_size=[8, 8, 8], batch_size=2, steps_per_epoch=steps, num_workers=0, cache_dir=folder
    )
