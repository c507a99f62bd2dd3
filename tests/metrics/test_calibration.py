from __future__ import annotations

from math import isnan

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from medconv.errors import ConfigError, ShapeError
from medconv.metrics import expected_calibration_error, reliability_curve

Drawn = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


@st.composite
def cases(draw: st.DrawFn) -> Drawn:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes, shape = draw(st.integers(2, 5)), tuple(draw(st.lists(st.integers(1, 8), min_size=1, max_size=3)))
    scores = np.exp(rng.normal(0, 2, (classes, *shape)))
    return scores / scores.sum(0), rng.integers(0, classes, shape)


@settings(max_examples=40)
@given(cases(), st.sampled_from([1, 5, 15]))
def test_both_errors_equal_torchmetrics(drawn: Drawn, bins: int) -> None:
    p, ref = drawn
    curve = reliability_curve(p, ref, bins)
    flat = torch.from_numpy(p.reshape(len(p), -1).T), torch.from_numpy(ref.ravel())
    for norm, ours in (("l1", curve.expected_error), ("max", curve.largest_error)):
        theirs = multiclass_calibration_error(*flat, num_classes=len(p), n_bins=bins, norm=norm)
        assert ours == pytest.approx(theirs.item(), abs=1e-5)


@settings(max_examples=40)
@given(cases())
def test_the_error_of_one_label_equals_torchmetrics(drawn: Drawn) -> None:
    p, ref = drawn
    theirs = binary_calibration_error(torch.from_numpy(p[1]), torch.from_numpy(ref == 1), n_bins=10)
    curve = reliability_curve(p, ref, bins=10, label=1)
    assert curve.expected_error == pytest.approx(theirs.item(), abs=1e-5)
    assert curve.voxels.sum() == ref.size


def test_a_calibrated_network_has_no_error(rng: np.random.Generator) -> None:
    p = rng.uniform(0, 1, 200_000)
    ref = (rng.uniform(0, 1, p.size) < p).astype(int)
    honest = np.stack([1 - p, p])
    assert expected_calibration_error(honest, ref, label=1) < 0.01
    boastful = np.stack([1 - p, p]).round()
    assert expected_calibration_error(boastful, ref, label=1) == pytest.approx(0.25, abs=0.01)


def test_curves_of_parts_add_up_to_the_curve_of_the_whole(rng: np.random.Generator) -> None:
    p = rng.dirichlet([1, 1, 1], 60).T
    ref = rng.integers(0, 3, 60)
    whole = reliability_curve(p, ref)
    both = reliability_curve(p[:, :20], ref[:20]) + reliability_curve(p[:, 20:], ref[20:])
    np.testing.assert_array_equal(both.voxels, whole.voxels)
    np.testing.assert_array_equal(both.correct, whole.correct)
    np.testing.assert_allclose(both.sum_confidence, whole.sum_confidence)


def test_ends_of_bins_and_empty_bins() -> None:
    p = np.array([0.0, 0.25, 0.5, 1.0])
    curve = reliability_curve(np.stack([1 - p, p]), np.array([0, 0, 1, 1]), bins=4, label=1)
    assert curve.voxels.tolist() == [2, 1, 0, 1]
    assert (
        np.isnan(curve.accuracy).tolist()
        == np.isnan(curve.confidence).tolist()
        == [False, False, True, False]
    )
    nothing = reliability_curve(np.empty((2, 0)), np.empty(0, int))
    assert isnan(nothing.expected_error)
    assert isnan(nothing.largest_error)


def test_misuse_is_refused() -> None:
    p, ref = np.full((2, 3), 0.5), np.array([0, 1, 1])
    with pytest.raises(
        ShapeError, match=r"probabilities \(K, \*S\) and integer labels \(\*S\), got \(2, 3\) and \(2,\)"
    ):
        reliability_curve(p, ref[:2])
    with pytest.raises(ShapeError, match=r"got \(2, 3\) and \(3,\) of float64"):
        reliability_curve(p, ref * 1.0)
    with pytest.raises(ShapeError, match="expected labels 0 … 1, got 0 … 2"):
        reliability_curve(p, ref * 2)
    for wrong in (p * 3, p - 1, p * np.nan):
        with pytest.raises(ConfigError, match="expected probabilities from 0 to 1, got others or nan"):
            reliability_curve(wrong, ref)
    with pytest.raises(ConfigError, match="expected at least one bin, got 0"):
        reliability_curve(p, ref, bins=0)
    with pytest.raises(ConfigError, match="expected a label from 0 to 1, got 2"):
        reliability_curve(p, ref, label=2)
    with pytest.raises(ConfigError, match="expected curves of one number of bins, got 15 and 5"):
        reliability_curve(p, ref) + reliability_curve(p, ref, bins=5)
