"""Segmentations read back by highdicom and pydicom, which know nothing of how they were made."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import dcmread
from tiny_dicom import SHAPE, save_series

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io.dicom import segmentation
from medconv.io.dicom.read import read_volume
from medconv.io.dicom.segmentation import write_segmentation

NAMES = {0: "background", 1: "left lung", 2: "heart", 3: "absent"}


def labels() -> np.ndarray:
    values = np.zeros(SHAPE, np.uint8)
    values[1:4, 2:5, 1:3] = 1
    values[5, 1, 2:] = 2
    return values


def masks_by_position(path: Path, series: Path) -> np.ndarray:
    """``(K - 1, X, Y, Z)``: each frame put where its position in the patient says."""
    grid = read_volume(series).geometry.affine
    dataset = dcmread(path)
    found = np.zeros((len(dataset.SegmentSequence), *SHAPE), np.uint8)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        lps = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        index = np.linalg.solve(grid, [-lps[0], -lps[1], lps[2], 1])
        np.testing.assert_allclose(index[:2], 0, atol=1e-3)
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[segment - 1, :, :, round(index[2])] = frame.T
    return found


def test_masks_come_back_where_they_were_in_the_patient(tmp_path: Path) -> None:
    series = save_series(tmp_path / "ct")
    write_segmentation(tmp_path / "new" / "seg.dcm", labels(), series, NAMES, "0.1")
    found = masks_by_position(tmp_path / "new" / "seg.dcm", series)
    assert np.array_equal(found, [labels() == value for value in (1, 2, 3)])


def test_highdicom_sees_the_same_and_the_same_frame_of_reference(tmp_path: Path) -> None:
    series = save_series(tmp_path / "ct")
    write_segmentation(tmp_path / "seg.dcm", labels(), series, NAMES, "0.1")
    seg, source = highdicom.seg.segread(tmp_path / "seg.dcm"), dcmread(next(series.iterdir()))
    for tag in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PatientName"):
        assert seg[tag].value == source[tag].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert [s.SegmentLabel for s in seg.SegmentSequence] == ["left lung", "heart", "absent"]
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"AUTOMATIC"}
    by_slice = {
        dcmread(path).SOPInstanceUID: np.round(
            np.linalg.solve(read_volume(series).geometry.affine, [*_ras(path), 1])[2]
        )
        for path in series.iterdir()
    }
    uids = sorted(by_slice, key=by_slice.__getitem__)
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, ignore_spatial_locations=True)
    assert np.array_equal(pixels.transpose(2, 1, 0), labels())


def _ras(path: Path) -> list[float]:
    x, y, z = (float(v) for v in dcmread(path).ImagePositionPatient)
    return [-x, -y, z]


def test_an_empty_mask_is_a_file_too(tmp_path: Path) -> None:
    series = save_series(tmp_path / "ct")
    write_segmentation(tmp_path / "seg.dcm", np.zeros(SHAPE, np.uint8), series, NAMES, "0.1")
    assert not masks_by_position(tmp_path / "seg.dcm", series).any()


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = save_series(tmp_path / "ct")
    with pytest.raises(GeometryError, match=r"expected labels of its shape \(7, 6, 5\), got \(6, 7, 5\)"):
        write_segmentation(tmp_path / "seg.dcm", labels().transpose(1, 0, 2), series, NAMES, "0.1")
    bare = save_series(tmp_path / "bare", lambda _, dataset: dataset.__delattr__("StudyInstanceUID"))
    with pytest.raises(
        BadImageError, match=r"bare: cannot be the source of a DICOM segmentation \(.*StudyInstance"
    ):
        write_segmentation(tmp_path / "seg.dcm", labels(), bare, NAMES, "0.1")
    monkeypatch.setattr(segmentation, "highdicom", None)
    with pytest.raises(ConfigError, match=r"need highdicom; pip install 'medconv\[dicom-seg\]'"):
        write_segmentation(tmp_path / "seg.dcm", labels(), series, NAMES, "0.1")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_real_series_is_segmented(real_data: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    series = real_data / "dicom_hippocampus"
    values = rng.integers(0, 3, read_volume(series).shape).astype(np.uint8)
    write_segmentation(tmp_path / "seg.dcm", values, series, {0: "background", 1: "a", 2: "b"}, "0.1")
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    volume = seg.get_volume(combine_segments=True)
    turned = volume.match_geometry(
        highdicom.Volume(np.zeros(values.shape, np.uint8), np.diag([1.0, 1, 1, 1]) @ _lps(series), "PATIENT")
    )
    assert np.array_equal(turned.array, values)


def _lps(series: Path) -> np.ndarray:
    return np.diag([-1.0, -1, 1, 1]) @ read_volume(series).geometry.affine
