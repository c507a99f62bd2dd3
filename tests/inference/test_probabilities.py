"""Probabilities on the grid of the input: the mean over networks, turned back like the labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_checkpoint import tiny_plan
from torch import Tensor, nn

from medconv.inference import Predictor
from medconv.inference import predictor as predictor_module

NiftiFactory = Callable[..., Path]


class Logistic(nn.Module):
    """Scores 0 and (x - at) / 50, so that the probability of class 1 is a logistic curve."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = at

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), (x - self.at) / 50], dim=1)


def predictor(*thresholds: float, **plan: object) -> Predictor:
    plans = [tiny_plan(normalization=("none",), label_names={0: "background", 1: "bright"}, **plan)]
    return Predictor([Logistic(at) for at in thresholds], plans * len(thresholds), device="cpu")


@pytest.mark.parametrize("thresholds", [(100.0,), (80.0, 150.0), (60.0, 100.0, 180.0)])
def test_they_are_the_mean_of_the_networks_on_the_stored_grid(
    tiny_nifti: NiftiFactory, thresholds: tuple[float, ...]
) -> None:
    scan = tiny_nifti("scan.nii.gz")
    voxels = np.asarray(nib.load(scan).dataobj, dtype=np.float64)
    expected = np.mean([1 / (1 + np.exp(-(voxels - at) / 50)) for at in thresholds], axis=0)
    prediction = predictor(*thresholds).predict(scan, probabilities=True)
    assert prediction.probabilities is not None
    assert prediction.probabilities.dtype == np.float16
    np.testing.assert_allclose(prediction.probabilities[1], expected, atol=6e-4)
    np.testing.assert_allclose(prediction.probabilities.astype(float).sum(0), 1, atol=1e-3)
    sure = np.abs(expected - 0.5) > 1e-3
    assert np.array_equal(prediction.probabilities.argmax(0)[sure], prediction.labels[sure])
    assert np.array_equal(prediction.labels, predictor(*thresholds).predict(scan).labels)
    assert predictor(*thresholds).predict(scan).probabilities is None


def test_those_of_a_slice_have_its_axes() -> None:
    flat = predictor(100.0, spatial_dims=2, spacing_mm=(1.0, 1.0), patch_size=(8, 8), orientation="native")
    prediction = flat.predict(torch.full((5, 6), 150.0), spacing_mm=(1, 1), probabilities=True)
    assert prediction.probabilities is not None
    assert prediction.probabilities.shape == (2, 5, 6)
    np.testing.assert_allclose(prediction.probabilities[1], 1 / (1 + np.exp(-1)), atol=5e-4)


def test_large_ones_are_the_same_from_a_file(
    tiny_nifti: NiftiFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tiny_nifti("scan.nii.gz")
    expected = predictor(100.0).predict(scan, probabilities=True).probabilities
    make = predictor_module.spacious_array
    monkeypatch.setattr(predictor_module, "spacious_array", lambda shape, dtype: make(shape, dtype, 0))
    found = predictor(100.0).predict(scan, probabilities=True).probabilities
    assert isinstance(found, np.memmap)
    assert np.array_equal(found, expected)
