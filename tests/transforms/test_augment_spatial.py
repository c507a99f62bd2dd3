"""Rotation matrices, and how far a patch may be turned."""

from __future__ import annotations

import numpy as np
import pytest

from medconv.transforms.augment_spatial import rotation_limits_deg, rotation_matrix


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
