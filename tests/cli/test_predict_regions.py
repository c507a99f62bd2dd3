"""What `medconv predict` says beside the masks of a network that answers for regions."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import stats
from tiny_checkpoint import save_region_checkpoint

from medconv.cli.main import main


def test_regions_say_how_sure_the_labels_are_that_they_write(
    tiny_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    tiny_nifti("scans/a.nii.gz")
    out, table = tmp_path / "out", tmp_path / "s.csv"
    words = [save_region_checkpoint(tmp_path / "best.ckpt"), "-i", tmp_path / "scans", "-o", out]
    words += ["--device", "cpu", "--save-probabilities", "--uncertainty", "--stats", table]
    assert main(["predict", *map(str, words)]) == 0
    regions = nib.load(out / "probabilities/a.nii.gz").get_fdata()
    labels = np.asarray(nib.load(out / "a.nii.gz").dataobj)
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == ["head", "tail"]
    for row in rows:
        inside = labels == int(row["label"])
        assert int(row["voxels"]) == inside.sum() > 0
        expected = regions[inside, int(row["label"]) - 1].mean()
        assert float(row["mean_probability"]) == pytest.approx(expected, abs=1e-4)
    entropy = stats.entropy([regions, 1 - regions], base=2).max(axis=-1)
    np.testing.assert_allclose(nib.load(out / "entropy/a.nii.gz").get_fdata(), entropy, atol=2e-3)
