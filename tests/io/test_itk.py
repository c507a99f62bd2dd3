from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from medconv.errors import BadImageError, GeometryError
from medconv.io import itk, read_image, read_volume, reader_for, write_labels

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")


def converted(nifti: Path, suffix: str) -> Path:
    """The same image as ITK itself writes it in another format."""
    path = nifti.with_name(f"scan{suffix}")
    sitk.WriteImage(sitk.ReadImage(str(nifti)), str(path))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_what_the_nifti_file_gives(tiny_nifti, suffix):
    nifti = tiny_nifti("scan.nii.gz")
    path = converted(nifti, suffix)
    expected, volume = read_volume(nifti), read_image([path], channels=1)
    assert np.array_equal(volume.data, expected.data)
    np.testing.assert_allclose(volume.geometry.affine, expected.geometry.affine, atol=1e-5)
    assert volume.geometry.orientation == expected.geometry.orientation
    header = reader_for(path).read_header(path)
    assert (header.shape, header.channels) == (expected.shape, 1)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_components_and_a_fourth_axis_are_channels(tmp_path, rng, suffix):
    array = rng.random((3, 5, 6, 7)).astype(np.float32)  # (C, Z, Y, X)
    sitk.WriteImage(sitk.GetImageFromArray(np.moveaxis(array, 0, -1), isVector=True), tmp_path / f"v{suffix}")
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=False), tmp_path / f"f{suffix}")
    for name in ("v", "f"):
        volume = itk.read_volume(tmp_path / f"{name}{suffix}")
        assert np.array_equal(volume.data, array.transpose(0, 3, 2, 1))
    with pytest.raises(BadImageError, match=r"expected 1 channel\(s\), got 3"):
        itk.read_volume(tmp_path / f"v{suffix}", channels=1)


def test_a_picture_is_a_single_slice(tmp_path, rng):
    image = sitk.GetImageFromArray(rng.random((5, 6)).astype(np.float32))
    image.SetSpacing((0.5, 0.25))
    sitk.WriteImage(image, tmp_path / "flat.nrrd")
    volume = itk.read_volume(tmp_path / "flat.nrrd")
    assert volume.shape == (6, 5, 1)
    assert volume.geometry.spacing_mm == (0.5, 0.25, 1.0)


def test_labels_keep_their_values_and_masks_become_nifti(tmp_path):
    array = np.array([[[0, 1], [300, 2]]], np.uint16)
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((3, -4, 5))
    sitk.WriteImage(image, tmp_path / "labels.mha")
    labels = itk.read_labels(tmp_path / "labels.mha")
    assert labels.data.dtype == np.uint16
    assert np.array_equal(labels.data[0], array.transpose(2, 1, 0))
    write_labels(tmp_path / "mask.nii", labels.data[0], labels)
    np.testing.assert_allclose(nib.load(tmp_path / "mask.nii").affine[:3, 3], (-3, 4, 5))
    with pytest.raises(BadImageError, match=r"expected only the labels \[0, 1, 2\], got also 300"):
        itk.read_labels(tmp_path / "labels.mha", allowed=(0, 1, 2))
    moved = itk.read_volume(tmp_path / "labels.mha")
    moved.geometry.affine[0, 3] += 2
    with pytest.raises(GeometryError, match="expected the grid of"):
        itk.read_labels(tmp_path / "labels.mha", like=moved)


def test_unusable_files_are_refused(tmp_path, tiny_nifti):
    whole = converted(tiny_nifti("scan.nii.gz"), ".mha").read_bytes()
    cases = {
        "text.nrrd": (b"this is no volume", r"text\.nrrd: damaged or of another type \(.*\); copy it again"),
        "short.mha": (whole[:-100], r"short\.mha: damaged or truncated \(.*\); copy it again"),
        "empty.mha": (b"", r"empty\.mha: damaged or of another type"),
    }
    for name, (content, text) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadImageError, match=text):
            itk.read_volume(tmp_path / name)
    with pytest.raises(BadImageError, match=r"gone\.mha: no such file"):
        itk.read_volume(tmp_path / "gone.mha")
    with pytest.raises(BadImageError, match=r"1 channel\(s\) are more than max_voxels=3; raise it, or crop"):
        itk.read_volume(tmp_path / "scan.mha", max_voxels=3)
    nan = np.zeros((2, 2, 2), np.float32)
    nan[0, 0, 0] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(nan), tmp_path / "nan.nrrd")
    with pytest.raises(BadImageError, match="got 1 NaN and 0 infinite"):
        itk.read_volume(tmp_path / "nan.nrrd")
    sitk.WriteImage(sitk.GetImageFromArray(nan.astype(np.complex64)), tmp_path / "complex.nrrd")
    with pytest.raises(BadImageError, match="expected integer or real voxels, got complex"):
        itk.read_volume(tmp_path / "complex.nrrd")


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(itk, "sitk", None)
    with pytest.raises(
        BadImageError, match=r"reading \.nrrd files needs SimpleITK; pip install 'medconv\[itk\]'"
    ):
        itk.read_header(tmp_path / "scan.NRRD")
