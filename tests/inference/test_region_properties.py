"""Properties of objects held against scikit-image, region by region."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops

from medconv.errors import ShapeError
from medconv.inference.region_properties import Regions, measure_regions
from medconv.inference.region_table import RegionTable
from medconv.io import Volume, volume_from_array


def blobs(seed: int, shape: tuple[int, ...] = (60, 70, 1), count: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels, indices = np.zeros(shape, np.uint16), np.indices(shape)
    for number in rng.choice(np.arange(1, 500), count, replace=False):
        centre = [rng.integers(n) for n in shape]
        radii = rng.uniform(1.5, 9, len(shape))
        away = sum(((i - c) / r) ** 2 for i, c, r in zip(indices, centre, radii, strict=True))
        labels[away <= 1] = number
    labels[0, 0, 0] = 501
    return labels


def image(shape: tuple[int, ...], spacing_mm: tuple[float, ...], channels: int = 2) -> Volume:
    return volume_from_array(np.random.default_rng(0).normal(100, 20, (channels, *shape)), spacing_mm)


def in_px(volume: Volume) -> Volume:
    return replace(volume, geometry=replace(volume.geometry, unit="px"))


def measured(labels: np.ndarray, volume: Volume) -> Regions:
    return measure_regions(labels, volume)


@pytest.mark.parametrize("seed", range(4))
def test_images_measure_as_scikit_image_does(seed: int) -> None:
    labels, um = blobs(seed), 0.65
    volume = image(labels.shape, (um / 1000,) * 3)
    found = measured(labels, volume)
    assert (found.unit, found.axes) == ("um", 2)
    pixels = np.moveaxis(volume.data[..., 0], 0, -1)
    expected = regionprops(labels[..., 0], pixels, spacing=(um, um))
    assert len(found) == len(expected)
    for own, other in zip(found.rows(), expected, strict=True):
        assert (own["number"], own["pixels"]) == (other.label, other.num_pixels)
        assert own["size"] == pytest.approx(other.area)
        assert own["centroid"] == pytest.approx(other.centroid)
        assert tuple(own["box_px"]) == other.bbox
        for kind in ("mean", "min", "max"):
            np.testing.assert_allclose(
                own[f"{kind}_intensity"], getattr(other, f"intensity_{kind}"), rtol=1e-5
            )
        assert own["major_axis"] == pytest.approx(other.axis_major_length, abs=1e-6)
        assert own["minor_axis"] == pytest.approx(other.axis_minor_length, abs=1e-6)
        assert own["eccentricity"] == pytest.approx(other.eccentricity, abs=1e-6)
        if other.axis_major_length - other.axis_minor_length > 1e-3:
            turned = own["orientation_rad"] - other.orientation
            assert abs(np.sin(turned)) < 1e-5
        assert own["perimeter"] == pytest.approx(other.perimeter)
        rows, columns = np.nonzero(labels[..., 0] == other.label)
        assert own["touches_border"] == (
            min(rows.min(), columns.min()) == 0 or rows.max() == 59 or columns.max() == 69
        )


def test_stacks_have_volumes_and_axes_and_no_outline() -> None:
    labels = blobs(1, (20, 24, 14), 6)
    found = measured(labels, image(labels.shape, (0.0005, 0.0005, 0.002), 1))
    expected = regionprops(labels, spacing=(0.5, 0.5, 2.0))
    for own, other in zip(found.rows(), expected, strict=True):
        assert own["size"] == pytest.approx(other.area)
        assert own["centroid"] == pytest.approx(other.centroid)
        assert tuple(own["box_px"]) == other.bbox
        assert own["major_axis"] == pytest.approx(other.axis_major_length, abs=1e-5)
        assert own["minor_axis"] == pytest.approx(other.axis_minor_length, abs=1e-5)
        assert all(isnan(own[name]) for name in ("eccentricity", "orientation_rad", "perimeter"))


def test_no_object_no_row_and_oblong_pixels_no_perimeter() -> None:
    none = np.zeros((5, 6, 1), np.uint8)
    assert list(measured(none, image(none.shape, (1, 1, 1))).rows()) == []
    labels = blobs(0)
    oblong = measured(labels, image(labels.shape, (0.001, 0.002, 1)))
    assert np.isnan(oblong.perimeter).all()
    assert not np.isnan(oblong.eccentricity).any()
    with pytest.raises(
        ShapeError, match=r"expected a mask of the image's shape \(60, 70, 1\), got \(60, 69, 1\)"
    ):
        measured(labels[:, 1:], image(labels.shape, (1, 1, 1)))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_unit_stands_in_the_names_and_is_never_invented(tmp_path: Path) -> None:
    labels = blobs(2)
    known, unknown = image(labels.shape, (0.0005,) * 3), in_px(image(labels.shape, (1, 1, 1)))
    table = RegionTable(tmp_path / "both.csv", ["DNA", "actin"])
    table.add("known", measured(labels, known))
    table.add("unknown", measured(labels, unknown))
    rows = rows_of(table.write())
    first, last = rows[0], next(row for row in rows if row["case"] == "unknown")
    assert list(first)[:4] == ["case", "object", "area_um2", "area_px"]
    assert {"mean_intensity_DNA", "max_intensity_actin", "centroid_row_um", "bbox_beyond_column_px"} <= set(
        first
    )
    assert (first["area_px"], last["area_um2"], last["centroid_row_um"], last["perimeter_um"]) == (
        "",
        "",
        "",
        "",
    )
    assert first["object"] == last["object"]
    assert float(first["area_um2"]) == pytest.approx(float(last["area_px"]) * 0.25)
    assert first["touches_border"] in ("true", "false")
    assert not [c for c in first if c.startswith("volume") or "slice" in c]
    alone = RegionTable(tmp_path / "px.csv", ["DNA"])
    alone.add("unknown", measured(labels, in_px(image(labels.shape, (1, 1, 1), 1))))
    assert not [c for c in rows_of(alone.write())[0] if c.endswith(("_um", "_um2"))]


def test_rows_of_earlier_runs_stay_for_cases_that_are_not_done_again(tmp_path: Path) -> None:
    labels, path = blobs(3), tmp_path / "t.csv"
    volume = image(labels.shape, (0.001,) * 3, 1)
    table = RegionTable(path, ["DNA"])
    table.add("a", measured(labels, volume))
    table.add("b", measured(labels, volume))
    before = rows_of(table.write())
    later = RegionTable(path, ["DNA"])
    later.keep_earlier()
    assert "a" in later
    assert "c" not in later
    later.add("b", measured(labels * 0, volume))
    assert rows_of(later.write()) == [row for row in before if row["case"] == "a"]
    path.write_text("case,object,other\n1,2,3\n")
    foreign = RegionTable(path, ["DNA"])
    foreign.keep_earlier()
    assert rows_of(foreign.write()) == []
    assert path.read_text() == "case,object\n"


def test_a_table_that_went_through_a_spreadsheet_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "case,object,area_px\na,1,7,a note\n", encoding="utf-8-sig"
    )  # a mark in front, a cell behind
    table = RegionTable(path, ["DNA"])
    table.keep_earlier()
    assert rows_of(table.write()) == [{"case": "a", "object": "1", "area_px": "7"}]


def test_rows_of_a_case_whose_name_is_no_utf_8_are_found_again(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"case,object,area_px\nM\xfcller,1,7\n")
    table = RegionTable(tmp_path / "t.csv", ["DNA"])
    table.keep_earlier()
    assert os.fsdecode(b"M\xfcller") in table
