from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from medconv.errors import ConfigError
from medconv.transforms.augment import Augment
from medconv.transforms.augment_elastic import deform, displacement_vox, grid_shape
from medconv.transforms.augment_settings import AugmentSettings, Chance

PATCHES = [(13, 20), (12, 9, 14)]
ELASTIC = AugmentSettings(
    strength=1,
    rotation=0,
    scale=Chance(0, 0.7, 1.4),
    mirror=0,
    noise_std=Chance(0, 0, 0),
    blur_sigma_vox=Chance(0, 1, 1),
    brightness=Chance(0, 1, 1),
    contrast=Chance(0, 1, 1),
    resolution=Chance(0, 1, 1),
    gamma=Chance(0, 1, 1),
    gamma_inverted=Chance(0, 1, 1),
    elastic_vox=Chance(0.5, 1.0, 2.0),
    elastic_grid_vox=6.0,
)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_the_field_is_scipys_cubic_spline(patch, rng):
    grid = grid_shape(patch, 5.0)
    coefficients = rng.normal(size=(1, 1, *grid))
    ours = displacement_vox(torch.from_numpy(coefficients), patch, 5.0)[0, 0].numpy()
    field = coefficients[0, 0]
    for axis, (size, points) in enumerate(zip(patch, grid, strict=True)):
        knots = np.arange(-3, points + 3) - 0.0
        spline = BSpline(knots - 0.0, np.eye(points + 2)[:, 1 : points + 1], 3)
        basis = spline(np.arange(size) / 5.0 + 1)
        field = np.moveaxis(np.tensordot(field, basis, (axis, 1)), -1, axis)
    np.testing.assert_allclose(ours, field / (151 / 315) ** (len(patch) / 2), atol=1e-12)


@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_images_equal_scipys_map_coordinates_and_labels_its_largest_share(patch, rng):
    image = torch.from_numpy(rng.normal(size=(2, 3, *patch)))
    label = torch.from_numpy(rng.integers(0, 4, (2, 1, *patch)).astype(np.uint8))
    moved = torch.from_numpy(rng.normal(0, 2.5, (2, len(patch), *patch)))
    warped, mapped = deform(image, label, moved)
    for n in range(2):
        where = np.indices(patch) + moved[n].numpy()
        for c in range(3):
            oracle = map_coordinates(image[n, c].numpy(), where, order=1, mode="nearest")
            np.testing.assert_allclose(warped[n, c].numpy(), oracle, atol=1e-12)
        shares = [
            map_coordinates((label[n, 0] == k).double().numpy(), where, order=1, mode="nearest")
            for k in range(4)
        ]
        best = np.sort(shares, axis=0)
        clear = best[-1] - best[-2] > 1e-9
        assert (mapped[n, 0].numpy() == np.argmax(shares, axis=0))[clear].all()


def test_the_displacement_has_the_standard_deviation_that_was_asked_for():
    torch.manual_seed(0)
    patch = (64, 64)
    coefficients = 1.5 * torch.randn(200, 2, *grid_shape(patch, 8.0))
    assert displacement_vox(coefficients, patch, 8.0).std().item() == pytest.approx(1.5, rel=0.03)


def test_a_sample_is_a_function_of_its_key_and_others_keep_every_bit():
    augment = Augment(3, ELASTIC)
    torch.manual_seed(1)
    image, label = torch.randn(8, 1, 12, 10, 8), torch.randint(0, 3, (8, 1, 12, 10, 8), dtype=torch.uint8)
    keys = torch.arange(100, 108)
    changed, moved = augment(image, label, keys)
    same = [torch.equal(a, b) for a, b in zip(changed, image, strict=True)]
    assert 0 < sum(same) < 8
    alone, alone_label = augment(image[5:6], label[5:6], keys[5:6])
    assert torch.equal(alone[0], changed[5])
    assert torch.equal(alone_label[0], moved[5])
    off = Augment(3, AugmentSettings())
    assert not torch.equal(off(image, label, keys)[0], changed)


def test_settings_outside_their_range_are_refused():
    with pytest.raises(
        ConfigError, match=r"expected elastic_vox\.low >= 0 and elastic_grid_vox >= 2, got -1"
    ):
        AugmentSettings(elastic_vox=Chance(0.1, -1, 1))
