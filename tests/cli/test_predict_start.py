"""What `medconv predict` loads: every library that it does not need is seconds before the first case."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_checkpoint import save_checkpoint

NOT_NEEDED = (
    "SimpleITK",
    "highdicom",
    "lightning",
    "matplotlib",
    "medconv.datamodules",
    "medconv.export",
    "medconv.reporting",
    "medconv.training",
    "monai",
    "onnx",
    "pandas",
    "pyarrow",
    "pydicom",
    "pytorch_lightning",
    "ray",
    "requests",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.spatial",
    "skimage.morphology",
    "skimage.segmentation",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "torchmetrics",
    "wandb",
)


@pytest.mark.slow
def test_a_network_of_our_own_needs_no_library_beside_pytorch(
    tiny_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(tmp_path / "best.ckpt")
    words = ["predict", str(checkpoint), "-i", str(tiny_nifti("a.nii.gz")), "-o", str(tmp_path / "masks")]
    code = (
        "import sys; from medconv.cli.main import main; "
        f"assert main({[*words, '--device', 'cpu', '--report', str(tmp_path / 'run.json')]}) == 0; "
        f"print('loaded:', sorted(set({NOT_NEEDED}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stdout + done.stderr
