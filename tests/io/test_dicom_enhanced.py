"""Enhanced files: a whole volume in one file, read as the same volume would be from slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless
from tiny_dicom import NORMAL, SHAPE, SPACING_MM, save_enhanced, save_series, stored_voxels

from medconv.errors import BadImageError, GeometryError
from medconv.io.dicom.read import read_header, read_volume
from medconv.io.dicom.segmentation import write_segmentation


def test_frames_lie_where_slices_would(tmp_path: Path) -> None:
    slices = read_volume(save_series(tmp_path / "slices"))
    volume = read_volume(save_enhanced(tmp_path / "enhanced"))
    assert volume.shape == SHAPE
    np.testing.assert_allclose(volume.geometry.affine, slices.geometry.affine, atol=1e-5)
    # the slope and intercept of each slice, whatever the number of its frame
    assert np.array_equal(volume.data[0], stored_voxels() * np.arange(1.0, 6) - np.arange(5))


def test_a_file_made_by_highdicom_is_the_series_that_it_was_made_of(tmp_path: Path) -> None:
    classic = save_series(tmp_path / "classic")
    sources = [dcmread(path) for path in sorted(classic.iterdir())]
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        sources, highdicom.UID(), series_number=4, sop_instance_uid=highdicom.UID(), instance_number=1
    )
    (tmp_path / "enhanced").mkdir()
    enhanced.save_as(tmp_path / "enhanced/all.dcm")
    one, other = read_volume(classic), read_volume(tmp_path / "enhanced")
    assert np.array_equal(one.data, other.data)
    np.testing.assert_allclose(one.geometry.affine, other.geometry.affine, atol=1e-6)


def test_an_enhanced_file_is_read_as_itk_reads_it(tmp_path: Path) -> None:
    folder = save_enhanced(tmp_path / "mr", same_scaling, order=(0, 1, 2, 3, 4))
    image = sitk.ReadImage(str(folder / "all.dcm"), sitk.sitkFloat32)
    volume = read_volume(folder)
    assert np.array_equal(volume.data[0], sitk.GetArrayFromImage(image).transpose(2, 1, 0))
    np.testing.assert_allclose(volume.geometry.spacing_mm, image.GetSpacing(), atol=1e-5)
    origin = np.diag([-1.0, -1.0, 1.0]) @ np.array(image.GetOrigin())
    np.testing.assert_allclose(volume.geometry.affine[:3, 3], origin, atol=1e-4)


def same_scaling(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        (scale,) = frame.PixelValueTransformationSequence
        scale.RescaleSlope, scale.RescaleIntercept = 2, -7


def test_compressed_frames_and_a_single_one_are_read(tmp_path: Path) -> None:
    whole = read_volume(save_enhanced(tmp_path / "plain"))
    packed = read_volume(save_enhanced(tmp_path / "rle", lambda dataset: dataset.compress(RLELossless)))
    assert np.array_equal(whole.data, packed.data)
    one = read_volume(save_enhanced(tmp_path / "one", order=(2,)))
    assert np.array_equal(one.data[0, ..., 0], whole.data[0, ..., 2])
    assert one.geometry.spacing_mm == pytest.approx((1.5, 0.75, 5.0))


def test_without_scaling_frames_are_as_stored(tmp_path: Path) -> None:
    def bare(dataset: Dataset) -> None:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            del frame.PixelValueTransformationSequence

    assert np.array_equal(read_volume(save_enhanced(tmp_path / "mr", bare)).data[0], stored_voxels())


def test_a_segmentation_of_an_enhanced_file_has_its_frames(tmp_path: Path) -> None:
    folder = save_enhanced(tmp_path / "mr", type_one)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 2:5, 3] = 1
    write_segmentation(tmp_path / "seg.dcm", labels, folder, {0: "background", 1: "head"}, "0")
    written = highdicom.seg.segread(tmp_path / "seg.dcm")
    (frame,) = written.PerFrameFunctionalGroupsSequence
    place = frame.PlanePositionSequence[0].ImagePositionPatient
    source = dcmread(folder / "all.dcm").PerFrameFunctionalGroupsSequence[0]  # that shows slice 3
    np.testing.assert_allclose(place, source.PlanePositionSequence[0].ImagePositionPatient)
    assert np.array_equal(written.pixel_array.squeeze(), labels[..., 3].T)


def type_one(dataset: Dataset) -> None:
    """What a segmentation must repeat, and a bare file lacks."""
    dataset.PatientID, dataset.Manufacturer = "tiny", "nobody"


def frames(dataset: Dataset) -> list[Dataset]:
    return list(dataset.PerFrameFunctionalGroupsSequence)


def forget_places(dataset: Dataset) -> None:
    del frames(dataset)[1].PlanePositionSequence


def describe_fewer(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = frames(dataset)[:4]


def turn_one(dataset: Dataset) -> None:
    plane = Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    frames(dataset)[2].PlaneOrientationSequence = [plane]


def double(dataset: Dataset) -> None:
    frames(dataset)[0].PlanePositionSequence = frames(dataset)[1].PlanePositionSequence


def drop_groups(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            forget_places,
            GeometryError,
            r"3 numbers in ImagePositionPatient, got None in all\.dcm frame 2; without",
        ),
        (describe_fewer, BadImageError, r"all\.dcm holds 5 frame\(s\) and describes 4; copy it again"),
        (turn_one, GeometryError, r"one ImageOrientationPatient for all slices, got .* in all\.dcm frame 3"),
        (
            double,
            GeometryError,
            r"doubled slices, at one position each: all\.dcm frame 1 and all\.dcm frame 2; remove",
        ),
        (
            drop_groups,
            BadImageError,
            r"all\.dcm is a multi-frame file \(5 frames\) that does not say where each .*dcm2niix",
        ),
        (
            lambda dataset: setattr(dataset, "SamplesPerPixel", 3),
            BadImageError,
            r"all\.dcm has 3 samples a voxel \(colour\); expected grey",
        ),
    ],
)
def test_frames_that_are_no_volume_are_refused(
    tmp_path: Path, change: Callable[[Dataset], None], error: type[Exception], text: str
) -> None:
    folder = save_enhanced(tmp_path / "mr", change)
    with pytest.raises(error, match=text):
        read_header(folder)


def test_several_volumes_in_one_file_are_told_with_the_remedy(tmp_path: Path) -> None:
    def repeat(dataset: Dataset) -> None:
        dataset.PerFrameFunctionalGroupsSequence = [*frames(dataset), *frames(dataset)]
        dataset.NumberOfFrames, dataset.PixelData = 10, 2 * dataset.PixelData

    folder = save_enhanced(tmp_path / "perfusion", repeat)
    with pytest.raises(
        GeometryError,
        match=r"2 volumes \(times, echoes or copies\) in one file; split the file, for example with dcm2niix",
    ):
        read_header(folder)


def test_a_missing_frame_and_a_second_file_are_found(tmp_path: Path) -> None:
    folder = save_enhanced(tmp_path / "mr", order=(3, 0, 4, 1))
    with pytest.raises(
        GeometryError, match=r"1 slice\(s\) missing .* between all\.dcm frame 4 and all\.dcm frame 1"
    ):
        read_header(folder)
    folder = save_enhanced(tmp_path / "two")
    (folder / "copy.dcm").write_bytes((folder / "all.dcm").read_bytes())
    with pytest.raises(
        BadImageError,
        match=r"all\.dcm is an enhanced file, which holds a whole volume \(5 frame\(s\)\), and there are 1 more",
    ):
        read_header(folder)


@pytest.mark.filterwarnings("ignore")  # pydicom's own word about the length
def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    folder = save_enhanced(tmp_path / "mr")
    whole = (folder / "all.dcm").read_bytes()
    (folder / "all.dcm").write_bytes(whole[:-20])
    with pytest.raises(BadImageError, match=r"all\.dcm: damaged \(.*\); copy it again"):
        read_volume(folder)


@pytest.mark.parametrize("tag", ["Rows", "Columns"])
def test_a_file_without_the_size_of_its_frames_is_named(tmp_path: Path, tag: str) -> None:
    folder = save_enhanced(tmp_path / "mr")
    dataset = dcmread(folder / "all.dcm")
    delattr(dataset, tag)
    dataset.save_as(folder / "all.dcm")
    with pytest.raises(BadImageError, match=r"all\.dcm: damaged|none with voxels"):
        read_header(folder)


def test_a_frame_that_lies_apart_is_no_grid(tmp_path: Path) -> None:
    def moved(dataset: Dataset) -> None:
        (place,) = frames(dataset)[1].PlanePositionSequence  # of the first slice
        place.ImagePositionPatient = list(np.array(place.ImagePositionPatient) - 0.4 * SPACING_MM[2] * NORMAL)

    with pytest.raises(
        GeometryError, match=r"expected equal distances from slice to slice \(2\.5 mm\), got 3\.5 mm"
    ):
        read_header(save_enhanced(tmp_path / "mr", moved))
