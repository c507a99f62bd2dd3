"""What every test shares: no screen, no account, no clock in property tests, GPU tests only on a GPU,
and fixtures that build small, real files."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # shapes are small: threads would only wait for each other

import hypothesis
import nibabel as nib
import numpy as np
import pytest
import torch

ROOT = Path(__file__).parents[1]

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("WANDB_MODE", "disabled")
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before any kernel is defined

# The same examples on every machine and no time limit an example: a busy machine must not fail a law.
hypothesis.settings.register_profile("medconv", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("medconv")

gc.disable()  # what collection makes lives on: looking for garbage among it finds nothing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_collection_finish() -> None:
    """Take what thousands of collected tests hold out of every later search for garbage.

    A prediction searches after each attempt, and that took half a second and more in a process of this size.
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # for libraries that complain at the end of what nobody has cleared


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that draws the same numbers in every run."""
    return np.random.default_rng(20240611)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real volumes; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("MEDCONV_REAL_DATA")
    if not folder:
        pytest.skip("MEDCONV_REAL_DATA is not set")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def oblique_affine() -> np.ndarray:
    """LPS-like axes, 0.8 × 0.8 × 2.5 mm, tilted by 17° and 9° so that no entry is zero."""
    a, b = np.deg2rad((17.0, 9.0))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag((-0.8, -0.8, 2.5))
    affine[:3, 3] = (31.0, -12.5, 7.25)
    return affine


NiftiFactory = Callable[..., Path]


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write an array with equal qform and sform, in mm."""
    image = nib.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


@pytest.fixture
def tiny_nifti(tmp_path: Path, rng: np.random.Generator, oblique_affine: np.ndarray) -> NiftiFactory:
    """A factory: ``tiny_nifti("a.nii.gz", array=None, affine=None) -> path``; 9 × 8 × 7 noise unless told."""

    def make(
        name: str = "scan.nii.gz", array: np.ndarray | None = None, affine: np.ndarray | None = None
    ) -> Path:
        voxels = rng.normal(100, 20, (9, 8, 7)).astype(np.float32) if array is None else array
        return save_nifti(tmp_path / name, voxels, oblique_affine if affine is None else affine)

    return make


def two_ellipsoids(shape: tuple[int, int, int], shift: float) -> np.ndarray:
    """Labels 0, 1, 2: two ellipsoids that touch along the second axis."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    first = ((x - shift) / 0.5) ** 2 + ((y + 0.35) / 0.4) ** 2 + (z / 0.7) ** 2 < 1
    second = ((x - shift) / 0.5) ** 2 + ((y - 0.35) / 0.4) ** 2 + (z / 0.7) ** 2 < 1
    return np.where(first, 1, np.where(second, 2, 0)).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory, oblique_affine: np.ndarray) -> Path:
    """A Decathlon folder: four cases of about 24 × 26 × 12 voxels, labels background, head, tail."""
    root = tmp_path_factory.mktemp("tiny_dataset")
    rng = np.random.default_rng(7)
    pairs = []
    for number in range(4):
        labels = two_ellipsoids((24, 26 - number, 12), shift=0.05 * number)
        image = (100 + 60 * labels + rng.normal(0, 8, labels.shape)).astype(np.float32)
        name = f"tiny_{number:03d}.nii.gz"
        save_nifti(root / "imagesTr" / name, image, oblique_affine)
        save_nifti(root / "labelsTr" / name, labels, oblique_affine)
        pairs.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {
        "name": "tiny",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "head", "2": "tail"},
        "numTraining": len(pairs),
        "training": pairs,
        "test": [],
    }
    (root / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make demo` leaves it, after a training of seconds: configs, data/demo, runs/unet_sym."""
    folder = tmp_path_factory.mktemp("demo_run")
    shutil.copytree(ROOT / "configs", folder / "configs")
    fit = [sys.executable, "-m", "medconv", "fit", "--config", "configs/unet_sym.yaml", "--config", "debug"]
    done = subprocess.run(fit, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
