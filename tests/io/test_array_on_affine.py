"""An array placed by an affine lies where the affine says, in memory and in the file."""

from __future__ import annotations

import numpy as np
import pytest

from medconv.errors import BadImageError, GeometryError
from medconv.io import read_volume, volume_from_array, write_volume


def test_it_lies_where_the_affine_says_in_memory_and_in_the_file(tmp_path, rng, oblique_affine):
    data = rng.random((5, 6, 7)).astype(np.float32)
    volume = volume_from_array(data, affine=oblique_affine)
    np.testing.assert_allclose(volume.geometry.affine, oblique_affine, atol=1e-5)
    np.testing.assert_allclose(volume.geometry.spacing_mm, (0.8, 0.8, 2.5), atol=1e-5)
    write_volume(tmp_path / "a.nii.gz", data, volume)
    back = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(back.geometry.affine, oblique_affine, atol=1e-5)
    np.testing.assert_array_equal(back.data[0], data)


def test_spacing_and_affine_exclude_each_other(oblique_affine):
    for arguments in ({}, {"spacing_mm": (1, 1, 1), "affine": oblique_affine}):
        with pytest.raises(GeometryError, match="expected either spacing_mm or affine, got both or neither"):
            volume_from_array(np.zeros((2, 2, 2)), **arguments)


def test_an_unusable_affine_is_refused():
    with pytest.raises(GeometryError, match="the array: expected an invertible affine"):
        volume_from_array(np.zeros((2, 2, 2)), affine=np.diag([1.0, 0, 1, 1]))
    with pytest.raises(BadImageError, match="expected an array of 3 axes"):
        volume_from_array(np.zeros((2, 2)), affine=np.eye(4))
