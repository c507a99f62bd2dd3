from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1, RLELossless
from tiny_dicom import COLUMN, FIRST, NORMAL, ROW, SHAPE, SPACING_MM, save_series, stored_voxels

from medconv.errors import BadImageError, GeometryError
from medconv.io import read_image, reader_for, write_labels
from medconv.io.dicom import is_dicom_file, is_series_folder
from medconv.io.dicom.read import read_header, read_labels, read_volume

Change = Callable[[int, Dataset], None]


def by_simpleitk(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Voxels ``(X, Y, Z)`` and RAS affine as ITK and GDCM read them."""
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(files, sitk.sitkFloat32)
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ lps


def position(number: int, offset: np.ndarray | float = 0.0) -> list[float]:
    return list(FIRST + number * SPACING_MM[2] * NORMAL + offset)


def test_an_oblique_series_is_read_as_itk_reads_it(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    volume = read_volume(folder)
    voxels, affine = by_simpleitk(folder)
    assert np.array_equal(volume.data[0], voxels)
    assert np.array_equal(volume.data[0], stored_voxels() * 2.0 - 1000)
    np.testing.assert_allclose(volume.geometry.affine, affine, atol=2e-5)
    assert (volume.data.dtype, volume.path, volume.channels) == (np.float32, folder, 1)
    np.testing.assert_allclose(volume.geometry.spacing_mm, SPACING_MM, rtol=1e-6)


def test_a_voxel_lies_where_the_standard_says(tmp_path: Path) -> None:
    """PS3.3 C.7.6.2.1.1: position + column index · column distance · row direction + …"""
    affine = read_header(save_series(tmp_path / "ct")).geometry.affine
    i, j, k = 4, 2, 3
    lps = FIRST + i * SPACING_MM[0] * ROW + j * SPACING_MM[1] * COLUMN + k * SPACING_MM[2] * NORMAL
    np.testing.assert_allclose(affine @ [i, j, k, 1], [-lps[0], -lps[1], lps[2], 1], atol=2e-5)


def test_each_slice_has_its_own_scaling(tmp_path: Path) -> None:
    def scaled(number: int, dataset: Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = number + 1, -number

    volume = read_volume(save_series(tmp_path / "pet", scaled))
    expected = stored_voxels() * np.arange(1.0, 6) - np.arange(5)
    assert np.array_equal(volume.data[0], expected)


def test_without_scaling_voxels_are_as_stored(tmp_path: Path) -> None:
    def bare(_: int, dataset: Dataset) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept

    assert np.array_equal(read_volume(save_series(tmp_path / "mr", bare)).data[0], stored_voxels())


def test_what_is_no_slice_is_passed_over(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    (folder / "notes.txt").write_text("no DICOM")
    (folder / "._001.dcm").write_bytes(b"macOS")
    (folder / "DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    report = dcmread(folder / "001.dcm")
    for tag in ("Rows", "Columns", "PixelData", "ImagePositionPatient"):
        delattr(report, tag)
    report.save_as(folder / "report")
    (folder / "001.dcm").rename(folder / "slice without a suffix")
    assert is_dicom_file(folder / "slice without a suffix")
    assert np.array_equal(read_volume(folder).data, read_volume(save_series(tmp_path / "clean")).data)


def test_a_single_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "one", slices=1)
    volume = read_volume(folder)
    assert volume.shape == (*SHAPE[:2], 1)
    assert volume.geometry.spacing_mm == pytest.approx((1.5, 0.75, 5.0))
    with pytest.raises(GeometryError, match=r"expected a SliceThickness for a single slice, got None"):
        read_header(save_series(tmp_path / "none", slices=1, SliceThickness=None))


def test_compressed_slices_are_decoded(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "rle", lambda _, dataset: dataset.compress(RLELossless))
    assert np.array_equal(read_volume(folder).data[0], stored_voxels() * 2.0 - 1000)


def test_an_inverted_picture_is_told(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "cr", PhotometricInterpretation="MONOCHROME1")
    with pytest.warns(
        UserWarning, match="MONOCHROME1, low values are shown bright; voxels are taken as they"
    ):
        read_volume(folder)


def test_masks_of_a_series_are_nifti_on_its_grid(tmp_path: Path) -> None:
    volume = read_volume(save_series(tmp_path / "ct"))
    labels = (volume.data[0] > -1000).astype(np.uint8)
    write_labels(tmp_path / "mask.nii.gz", labels, volume, {0: "air", 1: "body"})
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(np.asarray(mask.dataobj), labels)
    np.testing.assert_allclose(mask.affine, volume.geometry.affine, atol=1e-6)
    assert mask.header["sform_code"] == mask.header["qform_code"] == 1
    # ITK refuses files whose two affines are not orthonormal or contradict
    seen = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(seen).transpose(2, 1, 0), labels)


def test_label_series_are_read(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "labels", RescaleSlope=1, RescaleIntercept=60)
    labels = read_labels(folder)
    assert labels.data.dtype == np.uint8
    assert np.array_equal(labels.data[0], stored_voxels() + 60)
    with pytest.raises(BadImageError, match=r"expected only the labels \[0, 1\]"):
        read_labels(folder, allowed=(0, 1))


def test_a_folder_finds_its_reader(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct.v1")
    assert is_series_folder(folder)
    assert reader_for(folder).name == "DICOM series"
    assert read_image([folder, folder], channels=2).channels == 2
    (tmp_path / "empty").mkdir()
    assert not is_series_folder(tmp_path / "empty")
    with pytest.raises(BadImageError, match=r"or a folder with a DICOM series; convert"):
        reader_for(tmp_path / "empty")


# ---------------------------------------------------------------- what cannot be trusted


def test_a_missing_slice_is_found_between_its_neighbours(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    (folder / "000.dcm").unlink()  # the fourth of five
    with pytest.raises(
        GeometryError,
        match=r"1 slice\(s\) missing from a stack with 2\.5 mm from slice to slice: 5 mm between 002\.dcm and 003\.dcm "
        r"\(1 missing\); copy the series again",
    ):
        read_volume(folder)


def test_a_doubled_slice_is_named_with_its_twin(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    (folder / "copy.dcm").write_bytes((folder / "002.dcm").read_bytes())
    with pytest.raises(
        GeometryError, match=r"doubled slices, at one position each: 002\.dcm and copy\.dcm; remove"
    ):
        read_header(folder)


def test_several_volumes_in_one_series_are_told_apart_from_copies(tmp_path: Path) -> None:
    def echo(number: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = position(number % 5)

    folder = save_series(tmp_path / "echoes", echo, slices=10)
    with pytest.raises(
        GeometryError, match=r"5 positions with 2 slices each: 2 volumes \(times, echoes or copies\)"
    ):
        read_header(folder)


@pytest.mark.parametrize(
    ("where", "error", "text"),
    [
        (
            lambda n: n * 2.5 + 0.8 * (n > 2),
            GeometryError,
            r"expected equal distances .* \(2\.5 mm\), got 3\.3 mm",
        ),
        (lambda n: n * 2.5 + 1.25 * (n > 2), GeometryError, r"expected equal distances .* got 3\.75 mm"),
        (lambda n: n * 2.5 + 0.01 * (n > 2), None, ""),
    ],
)
def test_unequal_distances_are_refused_and_rounding_is_not(
    tmp_path: Path, where: Callable[[int], float], error: type[Exception] | None, text: str
) -> None:
    def moved(number: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = list(FIRST + where(number) * NORMAL)

    folder = save_series(tmp_path / "ct", moved)
    if error is None:
        assert read_header(folder).shape == SHAPE
    else:
        with pytest.raises(error, match=text):
            read_header(folder)


@pytest.mark.parametrize("tilt_deg", [2.0, 17.5])
def test_a_tilted_gantry_is_refused_with_its_angle(tmp_path: Path, tilt_deg: float) -> None:
    shift = np.tan(np.deg2rad(tilt_deg)) * SPACING_MM[2] * COLUMN

    def tilted(number: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = position(number, number * shift)

    folder = save_series(tmp_path / "ct", tilted)
    with pytest.raises(
        GeometryError, match=rf"the gantry was tilted: .* {tilt_deg:g}° from straight .* dcm2niix"
    ):
        read_header(folder)


def test_a_hint_of_tilt_is_repaired_with_a_warning(tmp_path: Path) -> None:
    def tilted(number: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = position(
            number, number * np.tan(np.deg2rad(0.5)) * SPACING_MM[2] * COLUMN
        )

    folder = save_series(tmp_path / "ct", tilted)
    with pytest.warns(
        UserWarning, match=r"voxel axes are 0\.5° from perpendicular; the nearest perpendicular"
    ):
        header = read_header(folder)
    directions = header.geometry.affine[:3, :3] / header.geometry.spacing_mm
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)


def only(which: int, **tags: object) -> Change:
    def change(number: int, dataset: Dataset) -> None:
        if number == which:
            for tag, value in tags.items():
                setattr(dataset, tag, value)

    return change


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            only(1, SeriesInstanceUID="1.2.3"),
            BadImageError,
            r"expected one series, got 2: CT chest, 4 slice\(s\), …",
        ),
        (
            only(1, Rows=3, Columns=14),
            BadImageError,
            r"rows and columns \(6, 7\) in .* and \(3, 14\) in 004\.dcm",
        ),
        (
            only(1, PixelSpacing=[1, 1]),
            GeometryError,
            r"expected one PixelSpacing for all slices, got \[0\.75, 1\.5\]",
        ),
        (
            only(1, ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
            GeometryError,
            r"one ImageOrientationPatient for all",
        ),
        (
            only(1, ImagePositionPatient=None),
            GeometryError,
            r"3 numbers in ImagePositionPatient, got None in 004\.dcm",
        ),
        (only(1, ImagePositionPatient=position(1, ROW)), GeometryError, r"004\.dcm lies 1 mm off it; export"),
        (
            only(1, NumberOfFrames=4),
            BadImageError,
            r"004\.dcm is a multi-frame file \(4 frames\) that does not say where each .*dcm2niix",
        ),
        (
            only(1, SamplesPerPixel=3),
            BadImageError,
            r"004\.dcm has 3 samples a voxel \(colour\); expected grey",
        ),
        (lambda _, d: setattr(d, "PixelSpacing", [0, 1]), GeometryError, r"expected a positive PixelSpacing"),
        (lambda _, d: delattr(d, "PixelSpacing"), GeometryError, r"2 numbers in PixelSpacing, got None"),
        (
            lambda _, d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
            GeometryError,
            r"expected perpendicular unit vectors in ImageOrientationPatient, got \[1\.0, 0\.0, 0\.0, 1\.0",
        ),
    ],
)
def test_slices_that_are_no_volume_are_refused(
    tmp_path: Path, change: Change, error: type[Exception], text: str
) -> None:
    folder = save_series(tmp_path / "ct", change)
    with pytest.raises(error, match=text):
        read_header(folder)


@pytest.mark.filterwarnings("ignore")  # pydicom's own word about the length
def test_damaged_slices_are_named(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    whole = (folder / "002.dcm").read_bytes()
    (folder / "002.dcm").write_bytes(whole[:-20])
    with pytest.raises(BadImageError, match=r"002\.dcm: damaged \(.*\); copy it again"):
        read_volume(folder)
    (folder / "002.dcm").write_bytes(b"this is no DICOM" * 20)
    with pytest.raises(BadImageError, match=r"002\.dcm: damaged or not DICOM \(.*\); copy it again"):
        read_header(folder)


def test_a_compression_without_decoder_is_told_with_the_remedy(tmp_path: Path) -> None:
    def compressed(_: int, dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([b"\xff\xd8" + b"\0" * 40])
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1

    folder = save_series(tmp_path / "ct", compressed)
    with pytest.raises(BadImageError, match=r"compressed as JPEG Lossless.*pip install pylibjpeg"):
        read_volume(folder)


def test_limits_hold_before_voxels_are_read(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    with pytest.raises(BadImageError, match=r"\(7, 6, 5\) = 210 voxels are more than max_voxels=209"):
        read_volume(folder, max_voxels=209)
    with pytest.raises(BadImageError, match=r"expected 2 channel\(s\), got 1"):
        read_volume(folder, channels=2)
    with pytest.raises(BadImageError, match=r"no such folder; expected one with the slices"):
        read_header(tmp_path / "nowhere")
    (tmp_path / "void").mkdir()
    with pytest.raises(BadImageError, match=r"found 0 DICOM file\(s\) and none with voxels; name the folder"):
        read_header(tmp_path / "void")


def test_the_real_series_is_read_as_itk_reads_it(real_data: Path) -> None:
    folder = real_data / "dicom_hippocampus"
    volume = read_volume(folder)
    voxels, affine = by_simpleitk(folder)
    assert volume.shape == (35, 51, 32)
    assert np.array_equal(volume.data[0], voxels)
    np.testing.assert_allclose(volume.geometry.affine, affine, atol=1e-6)
    assert volume.geometry.orientation == "LPS"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            b"\x28\x00\x30\x00DS",
            b"\x28\x00\x30\x00D\xe1",
        ),  # PixelSpacing, of a kind of value that there is none of
        (b"\x28\x00\x11\x00US", b"\x28\x00\x12\x00US"),  # Columns are missing
        (b"\x02\x00\x01\x00OB", b"\x02\x00\x01\x00US"),  # a number of six bytes in what goes before
    ],
)
def test_a_header_of_altered_bytes_is_named_by_its_file(tmp_path: Path, before: bytes, after: bytes) -> None:
    folder = save_series(tmp_path / "ct")
    slice_file = folder / "002.dcm"
    content = slice_file.read_bytes()
    assert before in content
    slice_file.write_bytes(content.replace(before, after, 1))
    with pytest.raises(BadImageError, match=r"002\.dcm: damaged or not DICOM \(.*\); copy it again"):
        read_header(folder)
