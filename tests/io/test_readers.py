from pathlib import Path

import numpy as np
import pytest

from medconv.errors import BadImageError, GeometryError
from medconv.io import read_image, reader_for, stem_of, suffix_of, supported_suffixes
from medconv.io.readers import without_pictures


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "A.NII.GZ", "a.b.nii"])
def test_a_file_name_finds_its_reader(name):
    assert reader_for(name).name == "NIfTI"


@pytest.mark.parametrize("name", ["a.gif", "a.gz", "a", "nii", "a.nii.zip"])
def test_unknown_suffix_is_refused_with_those_that_exist(name):
    with pytest.raises(
        BadImageError, match=r"expected a file ending in \.nii\.gz, \.nii, \.nrrd, .*; convert"
    ):
        reader_for(name)


def test_stem_and_suffix_make_up_the_name():
    for name in ("scan.v2.nii.gz", "scan.NII", "x.nii"):
        assert stem_of(name) + suffix_of(name) == name
    assert suffix_of("x.txt") is None
    assert stem_of("x.txt") == "x.txt"
    assert {".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".ome.tif", ".zarr", ".png"} < set(
        supported_suffixes()
    )


def test_files_become_channels_in_their_order(tiny_nifti, rng):
    arrays = [rng.random((4, 5, 6)).astype(np.float32) for _ in range(3)]
    paths = [tiny_nifti(f"c{n}.nii.gz", array) for n, array in enumerate(arrays)]
    volume = read_image(paths, channels=3)
    assert np.array_equal(volume.data, np.stack(arrays))
    assert volume.path == paths[0]
    assert np.array_equal(read_image(paths[::-1]).data, np.stack(arrays[::-1]))


def test_one_file_may_hold_all_channels(tiny_nifti, rng):
    assert read_image([tiny_nifti(array=rng.random((4, 4, 4, 2)))], channels=2).channels == 2
    with pytest.raises(BadImageError, match=r"expected 3 channel\(s\), got 2"):
        read_image([tiny_nifti(array=rng.random((4, 4, 4, 2)))], channels=3)


def test_channels_on_different_grids_are_refused(tiny_nifti, rng, oblique_affine):
    moved = oblique_affine.copy()
    moved[0, 3] += 5
    one, other = tiny_nifti("one.nii"), tiny_nifti("other.nii", affine=moved)
    with pytest.raises(GeometryError, match=r"other\.nii: expected the grid of .*one\.nii"):
        read_image([one, other])


def test_wrong_number_of_files_is_refused(tiny_nifti, rng):
    paths = [tiny_nifti(f"c{n}.nii") for n in range(2)]
    with pytest.raises(BadImageError, match=r"expected 3 image file\(s\) for the case, got 2"):
        read_image(paths, channels=3)
    with pytest.raises(BadImageError, match=r"at least one image file\(s\) for the case, got 0"):
        read_image([])
    two = tiny_nifti("two.nii", rng.random((9, 8, 7, 2)))
    with pytest.raises(BadImageError, match=r"two\.nii: expected 1 channel\(s\), got 2"):
        read_image([paths[0], two])


def test_pictures_beside_volumes_are_no_cases():
    names = ["a.nii.gz", "a.png", "b.mha", "c.tif"]
    assert [p.name for p in without_pictures(map(Path, names))] == ["a.nii.gz", "b.mha", "c.tif"]
    assert [p.name for p in without_pictures(map(Path, names[1::2]))] == ["a.png", "c.tif"]
