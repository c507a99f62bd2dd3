from __future__ import annotations

from math import prod

import numpy as np
import pytest

from medconv.planning import PLAIN, Cost, Sizes, count_map_voxels, fit_sizes, lower_resolution
from medconv.planning.lower_resolution import coverage


def fit(shape: tuple[int, ...], spacing: tuple[float, ...]) -> Sizes:
    return fit_sizes(
        shape,
        spacing,
        lambda patch, stages: Cost(0, count_map_voxels(patch, stages, 3)),
        PLAIN.capacity(3),
        dataset_voxels=prod(shape) * 131,
    )


def test_a_large_scan_gets_a_coarser_spacing_at_which_a_patch_sees_a_quarter() -> None:
    """nnU-Net's choice for such a scan: 128³ at both resolutions."""
    shape, spacing = (482, 512, 512), (1.0, 0.767, 0.767)
    full = fit(shape, spacing)
    lower = lower_resolution(shape, spacing, full, fit)
    assert lower is not None
    coarse = tuple(round(s * a / b) for s, a, b in zip(shape, spacing, lower, strict=True))
    assert fit(coarse, lower).patch_size == (128, 128, 128)
    assert coverage(full, shape) < 0.02 < 0.25 <= coverage(fit(coarse, lower), coarse)
    slightly_finer = tuple(round(s * a / b * 1.03) for s, a, b in zip(shape, spacing, lower, strict=True))
    assert coverage(fit(slightly_finer, tuple(mm / 1.03 for mm in lower)), slightly_finer) < 0.25


def test_fine_axes_are_coarsened_first() -> None:
    shape, spacing = (512, 512, 120), (0.7, 0.7, 5.0)
    lower = lower_resolution(shape, spacing, fit(shape, spacing), fit)
    assert lower is not None
    assert lower[2] == 5.0
    assert lower[0] == pytest.approx(lower[1])
    assert np.log(lower[0] / 0.7) / np.log(1.03) == pytest.approx(
        round(np.log(lower[0] / 0.7) / np.log(1.03)), abs=1e-3
    )


def test_none_where_a_patch_sees_enough_or_little_would_be_saved() -> None:
    small = (36, 50, 35), (1.0, 1.0, 1.0)
    assert lower_resolution(*small, fit(*small), fit) is None
    heart = (115, 320, 232), (1.37, 1.25, 1.25)
    assert lower_resolution(*heart, fit(*heart), fit) is None
