from __future__ import annotations

import json
from math import inf, isnan, nan

import pytest
import torch

from medconv.export.parity import Parity, compare, noise_patch


def test_the_same_function_is_within_any_tolerance() -> None:
    patches = [noise_patch((1, 3, 6, 6)), noise_patch((2, 3, 4, 8), seed=1)]
    found = compare("copy", lambda x: 2 * x, [2 * p for p in patches], patches, tolerance=0)
    assert found.is_within
    assert (found.max_abs_difference, found.label_agreement) == (0, 1)
    assert found.max_abs_logit == max(float((2 * p).abs().max()) for p in patches)
    assert found.shapes == ((1, 3, 6, 6), (2, 3, 4, 8))


@pytest.mark.parametrize(
    ("wrong", "difference"),
    [
        (lambda x: x + 0.25, 0.25),
        (lambda x: x * nan, nan),
        (lambda x: x[..., :-1], inf),
        (lambda x: torch.where(x == x.max(), inf, x), inf),
    ],
)
def test_what_differs_is_outside_and_can_be_written_as_json(wrong, difference: float) -> None:
    x = noise_patch((1, 2, 8, 8))
    found = compare("wrong", wrong, [x], [x], tolerance=0.1)
    assert not found.is_within
    assert found.max_abs_difference == pytest.approx(difference, nan_ok=True)
    assert "OUTSIDE 0.1" in str(found)
    told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert told["is_within"] is False


def test_one_number_that_is_none_is_outside_whatever_later_patches_say() -> None:
    spoiled, sound = (torch.zeros(1, 2, 40, 50) for _ in range(2))

    def wrong(x: torch.Tensor) -> torch.Tensor:
        got = x.clone()
        if x is spoiled:
            got[0, 0, 0, 0] = nan  # one voxel of 2000: labels agree in more than 999 of 1000
        return got

    found = compare("wrong", wrong, [spoiled, sound], [spoiled, sound], tolerance=0.1)
    assert found.label_agreement > 0.999
    assert isnan(found.max_abs_difference)
    assert not found.is_within


def test_logits_without_bounds_can_be_written_as_json() -> None:
    x = torch.full((1, 2, 4, 4), inf)
    found = compare("copy", lambda y: y, [x], [x], tolerance=0.1)
    assert not found.is_within
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["max_abs_logit"] is None


def test_labels_that_change_are_outside_whatever_the_tolerance() -> None:
    x = torch.zeros(1, 2, 10, 10)
    x[:, 0] = 0.01
    found = compare("flip", lambda y: y.flip(1), [x], [x], tolerance=1.0)
    assert found.max_abs_difference < 1
    assert found.label_agreement == 0
    assert not found.is_within
    assert not Parity("x", 0.0, 1.0, 0.998, 1.0, ()).is_within
    assert Parity("x", 0.0, 1.0, 0.9995, 1.0, ()).is_within


@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (1, 2, 24, 24, 24), (1, 1, 1, 3, 5)])
def test_noise_is_as_normalised_images_are(shape: tuple[int, ...]) -> None:
    patch = noise_patch(shape)
    assert tuple(patch.shape) == shape
    assert torch.equal(patch, noise_patch(shape))
    assert not torch.equal(patch, noise_patch(shape, seed=1))
    if patch.numel() > 1000:
        assert abs(float(patch.mean())) < 0.2
        assert 0.4 < float(patch.std()) < 1.3


def test_regions_are_compared_by_what_each_writes() -> None:
    x = torch.tensor([[[2.0, 2.0, -1.0, -1.0], [1.0, 1.0, -2.0, -2.0]]])
    # the larger output stays the larger one, while the second region goes below one half
    shift = torch.tensor([[[0.0], [-1.5]]])
    by_class = compare("shift", lambda y: y + shift, [x], [x], tolerance=2.0)
    by_region = compare("shift", lambda y: y + shift, [x], [x], 2.0, regions_class_order=(1, 2))
    assert (by_class.label_agreement, by_region.label_agreement) == (1, 0.5)
    assert not by_region.is_within
