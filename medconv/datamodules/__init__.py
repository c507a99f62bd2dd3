"""Data on its way to training: splits, samplers, prepared cases, and the modules that Lightning asks.

``NiftiDataModule`` serves folders of volumes, ``MicroscopyDataModule`` of images; ``DemoDataModule`` makes its own.
Every training sample is a function of the seed and its number in the run.
"""

from medconv.datamodules.base import SegmentationDataModule
from medconv.datamodules.cache import CaseCache, PreparedCase
from medconv.datamodules.case_datasets import CaseDataset, PatchDataset
from medconv.datamodules.demo import DemoDataModule
from medconv.datamodules.demo_cells import DemoImage, draw_cells
from medconv.datamodules.demo_folder import generate_demo
from medconv.datamodules.demo_volumes import DemoVolume, draw_volume
from medconv.datamodules.files import FileDataModule
from medconv.datamodules.microscopy import MicroscopyDataModule
from medconv.datamodules.nifti import NiftiDataModule
from medconv.datamodules.samplers import EvaluationSampler, Sample, TrainingSampler
from medconv.datamodules.splits import Split, split_folds, split_fraction

__all__ = [
    "CaseCache",
    "CaseDataset",
    "DemoDataModule",
    "DemoImage",
    "DemoVolume",
    "EvaluationSampler",
    "FileDataModule",
    "MicroscopyDataModule",
    "NiftiDataModule",
    "PatchDataset",
    "PreparedCase",
    "Sample",
    "SegmentationDataModule",
    "Split",
    "TrainingSampler",
    "draw_cells",
    "draw_volume",
    "generate_demo",
    "split_folds",
    "split_fraction",
]
