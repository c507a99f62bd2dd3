"""Outlines held against a fill of their polygons by matplotlib, and against cases made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.path import Path as Polygon
from scipy import ndimage

import medconv.io.imagej_rois as imagej_rois
from medconv.errors import ConfigError, ShapeError
from medconv.io.imagej_rois import require_roifile, write_imagej_rois
from medconv.io.outlines import trace_outlines


def filled(rings: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Pixels whose centres lie inside an odd number of polygons."""
    rows, columns = np.indices(shape)
    centres = np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5])
    times = sum(Polygon(ring).contains_points(centres).astype(int) for ring in rings)
    return (np.asarray(times) % 2 == 1).reshape(shape)


def turning(ring: np.ndarray) -> float:
    """Twice the signed area: positive for clockwise on a screen, where rows grow downwards."""
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_filling_the_outlines_gives_back_every_object(seed: int, rows: int, columns: int, kinds: int) -> None:
    labels = np.random.default_rng(seed).integers(0, kinds + 1, (rows, columns)) * 70_000
    found = trace_outlines(labels)
    assert sorted(found) == sorted(np.unique(labels[labels > 0]))
    for number, rings in found.items():
        np.testing.assert_array_equal(filled(rings, labels.shape), labels == number)
        # one ring clockwise round each piece that shares sides, the others round holes
        assert sum(turning(ring) > 0 for ring in rings) == ndimage.label(labels == number)[1]


def test_corners_on_straight_lines_are_left_out_and_diagonals_stay_apart() -> None:
    labels = np.zeros((5, 6), np.uint8)
    labels[1:4, 1:5] = 3
    (ring,) = trace_outlines(labels)[3]
    assert {tuple(p) for p in ring.tolist()} == {(1, 1), (5, 1), (5, 4), (1, 4)}
    assert len(ring) == 4
    assert len(trace_outlines(np.eye(3, dtype=int))[1]) == 3
    assert len(trace_outlines(np.ones((3, 3), int) - np.pad([[1]], 1))[1]) == 2
    assert trace_outlines(np.zeros((3, 3), int)) == {}


def objects() -> np.ndarray:
    """A disk, one with a hole, one of two pieces, one on the edge, and one with a large number."""
    rows, columns = np.indices((40, 50))
    labels = np.zeros((40, 50), np.int64)
    for number, row, column, radius in ((1, 10, 10, 7), (2, 10, 35, 8), (7, 30, 0, 5), (70_000, 30, 25, 6)):
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    labels[9:12, 34:37] = 0
    labels[30:33, 40:44] = labels[36:39, 45:48] = 9
    return labels


def test_imagej_opens_polygons_and_composites_that_cover_the_objects(tmp_path: Path) -> None:
    labels = objects()
    assert write_imagej_rois(tmp_path / "rois/a.zip", labels) == 5
    rois = {roi.name: roi for roi in roifile.roiread(tmp_path / "rois/a.zip")}
    assert sorted(rois) == ["00001", "00002", "00007", "00009", "70000"]
    for name, roi in rois.items():
        rings = roi.coordinates(multi=True)
        np.testing.assert_array_equal(filled(rings, labels.shape), labels == int(name))
        is_simple = name not in ("00002", "00009")
        assert roi.roitype == (roifile.ROI_TYPE.TRACED if is_simple else roifile.ROI_TYPE.RECT)
        assert roi.composite != is_simple
        rows, columns = np.nonzero(labels == int(name))
        assert (roi.left, roi.top) == (columns.min(), rows.min())
    assert [p.name for p in (tmp_path / "rois").iterdir()] == ["a.zip"]


def test_stacks_have_a_region_a_slice_with_its_position(tmp_path: Path) -> None:
    stack = np.stack([objects() == 1, objects() * 0, objects() == 2], axis=2).astype(np.uint8)
    assert write_imagej_rois(tmp_path / "a.zip", stack) == 2
    found = [(roi.name, roi.position) for roi in roifile.roiread(tmp_path / "a.zip")]
    assert found == [("00001_z0001", 1), ("00001_z0003", 3)]
    assert write_imagej_rois(tmp_path / "b.zip", stack[..., 1:2]) == 0


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"expected a file ending in \.zip for the ROIs, got .*a\.roi"):
        write_imagej_rois(tmp_path / "a.roi", objects())
    with pytest.raises(
        ShapeError, match=r"expected labels \(rows, columns\) or \(rows, columns, slices\), got \(4,\)"
    ):
        write_imagej_rois(tmp_path / "a.zip", np.zeros(4, int))
    monkeypatch.setattr(imagej_rois, "roifile", None)
    with pytest.raises(ConfigError, match=r"roifile; install it: pip install 'medconv\[microscopy\]'"):
        require_roifile()


@pytest.mark.skipif("MEDCONV_REAL_DATA" not in os.environ, reason="needs MEDCONV_REAL_DATA")
def test_real_nuclei_come_back_as_they_were(tmp_path: Path) -> None:
    path = sorted((Path(os.environ["MEDCONV_REAL_DATA"]) / "nuclei/labels").glob("*.png"))[0]
    labels = np.rint(imread(path) * 65535).astype(np.int64)
    write_imagej_rois(tmp_path / "a.zip", labels)
    again = np.zeros_like(labels)
    for roi in roifile.roiread(tmp_path / "a.zip"):
        again[filled(roi.coordinates(multi=True), labels.shape)] = int(roi.name)
    np.testing.assert_array_equal(again, labels)
