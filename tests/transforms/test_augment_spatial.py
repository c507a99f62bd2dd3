"""The affine sampling against scipy, and rotations that are rigid in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medconv.transforms.augment_spatial import rotation_limits_deg, rotation_matrix, sampling_matrix, warp


def warp_one(image, label, rotation, scale, spacing_mm):
    matrix = torch.tensor(sampling_matrix(rotation, scale, image.shape, spacing_mm), dtype=torch.float32)
    moved, moved_label = warp(
        torch.tensor(image, dtype=torch.float32)[None, None],
        torch.tensor(label)[None, None],
        matrix[None],
    )
    return moved[0, 0].numpy(), moved_label[0, 0].numpy()


def scipy_one(array, rotation, scale, spacing_mm, order):
    spacing = np.diag(spacing_mm)
    in_voxels = np.linalg.inv(spacing) @ (scale * rotation) @ spacing
    centre = (np.array(array.shape) - 1) / 2
    return ndimage.affine_transform(
        array, in_voxels, centre - in_voxels @ centre, order=order, mode="grid-constant"
    )


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "angles", "scale"),
    [
        ((12, 17, 9), (1.0, 1.0, 1.0), (12, -25, 30), 1.0),
        ((12, 17, 9), (0.8, 1.1, 2.6), (30, 5, -18), 1.3),
        ((9, 9, 30), (3.0, 0.7, 0.7), (170, 0, 0), 0.77),
        ((20, 31), (1.0, 1.0), (130,), 1.0),
        ((20, 31), (0.5, 2.0), (-40,), 1.2),
    ],
)
def test_warp_is_scipy_affine_transform(shape, spacing_mm, angles, scale):
    rng = np.random.default_rng(0)
    image, label = rng.normal(size=shape), rng.integers(0, 4, shape).astype(np.uint8)
    moved, moved_label = warp_one(image, label, rotation_matrix(angles), scale, spacing_mm)
    np.testing.assert_allclose(
        moved, scipy_one(image, rotation_matrix(angles), scale, spacing_mm, order=1), atol=2e-5
    )
    scores = [
        scipy_one((label == value).astype(float), rotation_matrix(angles), scale, spacing_mm, order=1)
        for value in (1, 2, 3)
    ]
    expected = np.argmax([1 - sum(scores), *scores], axis=0)  # outside is background
    assert np.mean(moved_label != expected) < 1e-3  # float32 may round a tie the other way
    assert moved_label.dtype == np.uint8


def test_labels_move_alike_whether_their_number_is_told_or_found():
    label = torch.randint(0, 3, (2, 1, 9, 8, 7), generator=torch.Generator().manual_seed(0)) * 2
    matrix = sampling_matrix(rotation_matrix((20, 10, 30)), 1.1, (9, 8, 7), (1, 1, 1))
    matrix = torch.tensor(matrix, dtype=torch.float32).expand(2, 3, 3)
    found, told = (warp(label.float(), label, matrix, classes)[1] for classes in (None, 6))
    assert torch.equal(found, told)
    assert set(found.unique().tolist()) == {0, 2, 4}


def test_labels_stay_where_nothing_moves():
    label = torch.randint(0, 4, (1, 1, 9, 8, 7), generator=torch.Generator().manual_seed(0))
    assert torch.equal(warp(label.float(), label, torch.eye(3)[None], 4)[1], label)


def test_a_quarter_turn_moves_voxels_without_loss():
    image = np.random.default_rng(1).normal(size=(7, 7, 5))
    moved, _ = warp_one(image, np.zeros((7, 7, 5), np.uint8), rotation_matrix((0, 0, 90)), 1.0, (1, 1, 3))
    np.testing.assert_allclose(moved, np.rot90(image, axes=(1, 0)), atol=1e-5)


def test_distances_in_mm_survive_a_rotation_on_an_anisotropic_grid():
    spacing_mm = (1.0, 1.0, 2.5)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (41, 41, 17)), indexing="ij"), -1) * spacing_mm
    points = np.array([[20, 20, 8], [28, 20, 8], [20, 20, 11]]) * spacing_mm
    image = sum(np.exp(-((grid - point) ** 2).sum(-1) / 8) * 10.0**i for i, point in enumerate(points))
    label = np.zeros(image.shape, np.uint8)
    for i, point in enumerate(points):
        label[((grid - point) ** 2).sum(-1) < 9] = i + 1
    _, moved = warp_one(image, label, rotation_matrix((30, 20, -25)), 1.0, spacing_mm)
    centres = np.array(ndimage.center_of_mass(moved > 0, moved, [1, 2, 3])) * spacing_mm
    for i, j in ((0, 1), (0, 2), (1, 2)):
        before, after = (np.linalg.norm(p[i] - p[j]) for p in (points, centres))
        assert after == pytest.approx(before, abs=0.5)


def test_scale_above_one_makes_structures_smaller():
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 1
    _, moved = warp_one(label.astype(float), label, np.eye(2), 1.25, (1, 1))
    assert moved.sum() == 16 * 16


def test_outside_is_background():
    image, label = np.ones((8, 8, 8)), np.ones((8, 8, 8), np.uint8)
    moved, moved_label = warp_one(image, label, np.eye(3), 1.4, (1, 1, 1))
    assert moved[0, 0, 0] == 0
    assert moved_label[0, 0, 0] == 0
    assert moved[4, 4, 4] == pytest.approx(1)
    assert moved_label[4, 4, 4] == 1


@pytest.mark.parametrize("angles", [(37.0,), (10.0, -20.0, 30.0)])
def test_rotation_matrices_are_proper_rotations(angles):
    matrix = rotation_matrix(angles)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_each_angle_turns_about_its_own_axis():
    for axis in range(3):
        angles = [0.0, 0.0, 0.0]
        angles[axis] = 40.0
        np.testing.assert_allclose(rotation_matrix(angles)[axis], np.eye(3)[axis], atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "expected"),
    [
        ((40, 56, 40), (1, 1, 1), (30, 30, 30)),
        ((40, 56, 40), (1, 1, 3), (30, 30, 30)),
        ((256, 256, 16), (0.5, 0.5, 5), (0, 0, 180)),
        ((16, 16, 200), (4, 4, 1), (0, 0, 0)),
        ((128, 128), (1, 1), (180,)),
        ((128, 64), (1, 1), (15,)),
    ],
)
def test_rotation_limits_follow_the_patch(shape, spacing_mm, expected):
    assert rotation_limits_deg(shape, spacing_mm) == expected
