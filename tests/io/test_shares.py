import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io import read_volume
from medconv.io.nifti.shares import write_shares


@pytest.mark.parametrize("name", ["p.nii", "p.nii.gz"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_reader_gets_the_numbers_on_the_grid(tiny_nifti, tmp_path, rng, name, dtype):
    like = read_volume(tiny_nifti("scan.nii.gz"))
    shares = rng.random((3, *like.shape)).astype(dtype)
    shares[:, 0, 0, 0] = (0, 1, 0.5)
    write_shares(tmp_path / "new" / name, shares, like)
    image = nib.load(tmp_path / "new" / name)
    assert (image.shape, image.get_data_dtype()) == ((*like.shape, 3), np.uint16)
    np.testing.assert_allclose(np.moveaxis(image.get_fdata(), -1, 0), shares, atol=1.6e-5)
    assert image.get_fdata()[0, 0, 0, :2].tolist() == [0, 1]
    np.testing.assert_allclose(image.affine, like.geometry.affine, atol=1e-6)
    seen = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "new" / name)))
    np.testing.assert_allclose(seen.transpose(0, 3, 2, 1), shares, atol=1.6e-5)
    assert np.array_equal(
        read_volume(tmp_path / "new" / name).data, image.get_fdata(dtype=np.float32).transpose(3, 0, 1, 2)
    )


def test_one_map_has_three_axes_and_what_lies_outside_is_cut(tiny_nifti, tmp_path):
    like = read_volume(tiny_nifti("scan.nii.gz"))
    shares = np.full(like.shape, 1.0004, np.float32)
    shares[0] = -0.0001
    write_shares(tmp_path / "e.nii.gz", shares, like)
    image = nib.load(tmp_path / "e.nii.gz")
    assert image.shape == like.shape
    assert np.unique(image.get_fdata()).tolist() == [0, 1]


def test_headers_of_both_kinds_and_byte_orders_are_kept(tmp_path, oblique_affine):
    data = np.zeros((3, 4, 5), np.float32)
    for number, header in enumerate((nib.Nifti2Header(), nib.Nifti1Header(endianness=">"))):
        image_class = nib.Nifti2Image if number == 0 else nib.Nifti1Image
        image = image_class(data, oblique_affine, header)
        image.set_qform(oblique_affine, 1)
        nib.save(image, tmp_path / f"{number}.nii")
        write_shares(tmp_path / f"s{number}.nii", data + 0.25, read_volume(tmp_path / f"{number}.nii"))
        found = nib.load(tmp_path / f"s{number}.nii")
        assert (type(found), found.header.endianness) == (image_class, image.header.endianness)
        np.testing.assert_allclose(found.get_fdata(), 0.25, atol=1.6e-5)


def test_the_same_numbers_make_the_same_file(tiny_nifti, tmp_path, rng):
    like = read_volume(tiny_nifti("scan.nii.gz"))
    shares = rng.random(like.shape)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_shares(tmp_path / name, shares, like)
    contents = [gzip.decompress((tmp_path / name).read_bytes()) for name in ("a.nii.gz", "b.nii.gz")]
    assert contents[0] == contents[1]


def test_wrong_names_and_shapes_are_refused_and_leave_nothing(tiny_nifti, tmp_path):
    path = tiny_nifti("scan.nii.gz")
    like = read_volume(path)
    with pytest.raises(BadImageError, match=r"expected a name ending in \.nii\.gz or \.nii"):
        write_shares(tmp_path / "p.npz", np.zeros(like.shape), like)
    with pytest.raises(ConfigError, match="is the image itself"):
        write_shares(path, np.zeros(like.shape), like)
    with pytest.raises(GeometryError, match="expected voxels of its shape"):
        write_shares(tmp_path / "p.nii", np.zeros((2, 2, 2)), like)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.parametrize("name", ["p.nii", "p.nii.gz"])
def test_written_twice_they_are_the_same_file(name, tiny_nifti, rng, tmp_path):
    like = read_volume(tiny_nifti("a.nii"))
    shares = rng.random((2, *like.shape)).astype(np.float16)
    contents = []
    for _ in range(2):
        write_shares(tmp_path / name, shares, like)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
