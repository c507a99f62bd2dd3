"""Masks as PNG, TIFF and OME-Zarr, against Pillow, tifffile and zarr."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io import (
    Volume,
    mask_suffix_for,
    reader_for,
    volume_from_array,
    write_labels,
    write_shares,
)
from medconv.io import (
    read_labels as read_nifti_labels,
)
from medconv.io.microscopy import read_volume
from medconv.io.readers import read_label_names


def picture(tmp_path: Path, shape: tuple[int, ...] = (5, 6), size_um: float | None = 0.5) -> Volume:
    """An image file of rows and columns, or of slices, rows and columns."""
    metadata = {"axes": "ZYX"[-len(shape) :]}
    if size_um is not None:
        metadata |= {f"PhysicalSize{axis}": size_um * (4 if axis == "Z" else 1) for axis in metadata["axes"]}
    tifffile.imwrite(tmp_path / "image.ome.tif", np.zeros(shape, np.uint8), metadata=metadata)
    return read_volume(tmp_path / "image.ome.tif")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".ome.tif", ".zarr", ".nii.gz"])
@pytest.mark.parametrize("largest", [1, 300, 65_535, 65_536])
def test_labels_come_back_in_the_smallest_type(
    tmp_path: Path, rng: np.random.Generator, suffix: str, largest: int
) -> None:
    if suffix == ".png" and largest > 65_535:
        return
    image = picture(tmp_path)
    labels = rng.integers(0, largest, (5, 6, 1), endpoint=True).astype(np.int64)
    labels[0, 0, 0] = largest
    path = tmp_path / "masks" / f"m{suffix}"
    write_labels(path, labels, like=image)
    found = reader_for(path).read_labels(path)
    assert np.array_equal(found.data[0], labels)
    assert found.data.dtype == np.min_scalar_type(largest)
    assert found.geometry.unit == ("px" if suffix == ".png" else "mm")
    if suffix != ".png":
        np.testing.assert_allclose(found.geometry.spacing_mm[:2], image.geometry.spacing_mm[:2], rtol=1e-6)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("size_um", [0.325, None])
def test_stacks_keep_their_slices_and_sizes(
    tmp_path: Path, rng: np.random.Generator, suffix: str, size_um: float | None
) -> None:
    image = picture(tmp_path, (4, 5, 6), size_um)
    labels = rng.integers(0, 900, (5, 6, 4)).astype(np.uint16)
    write_labels(tmp_path / f"m{suffix}", labels, like=image)
    found = reader_for(tmp_path / f"m{suffix}").read_labels(tmp_path / f"m{suffix}")
    assert np.array_equal(found.data[0], labels)
    assert found.geometry.unit == image.geometry.unit
    np.testing.assert_allclose(found.geometry.spacing_mm, image.geometry.spacing_mm, rtol=1e-6)


@settings(max_examples=25)
@given(st.floats(1e-3, 1e4))
def test_any_size_survives_the_tags_of_a_tiff(
    tmp_path_factory: pytest.TempPathFactory, size_um: float
) -> None:
    folder = tmp_path_factory.mktemp("tiff")
    image = volume_from_array(np.zeros((2, 3)), (size_um * 1e-3, size_um * 2e-3))
    write_labels(folder / "m.tif", np.zeros((2, 3, 1), np.uint8), like=image)
    found = read_volume(folder / "m.tif").geometry.spacing_mm[:2]
    np.testing.assert_allclose(found, image.geometry.spacing_mm[:2], rtol=1e-5)


def test_other_programs_read_what_is_written(tmp_path: Path, rng: np.random.Generator) -> None:
    image = picture(tmp_path)
    labels = rng.integers(0, 900, (5, 6, 1)).astype(np.uint16)
    for suffix in (".png", ".tif", ".ome.tif"):
        write_labels(tmp_path / f"m{suffix}", labels, like=image)
    with Image.open(tmp_path / "m.png") as png:
        assert np.array_equal(np.asarray(png), labels[..., 0])
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.imagej_metadata is not None
        assert tiff.imagej_metadata["unit"] == "um"
        assert np.array_equal(tiff.asarray(), labels[..., 0])
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as tiff:
        assert tiff.is_ome
        assert 'PhysicalSizeX="0.5"' in (tiff.ome_metadata or "")


def test_shares_are_channels_of_real_numbers(tmp_path: Path, rng: np.random.Generator) -> None:
    for shape in ((5, 6), (4, 5, 6)):
        image = picture(tmp_path, shape)
        shares = rng.random((3, *image.shape)).astype(np.float16)
        write_shares(tmp_path / "p.tif", shares, like=image)
        found = read_volume(tmp_path / "p.tif")
        assert np.array_equal(found.data, shares.astype(np.float32))
        write_shares(tmp_path / "e.tif", shares[0] * 3 - 1, like=image)
        assert read_volume(tmp_path / "e.tif").data.min() == 0
        assert read_volume(tmp_path / "e.tif").data.max() == 1


def test_png_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(
        BadImageError, match=r"expected labels up to 65535 for a PNG file, got 65536; write them as \.tif"
    ):
        write_labels(tmp_path / "m.png", np.full((5, 6, 1), 65_536), like=picture(tmp_path))
    with pytest.raises(BadImageError, match=r"got a stack of 4 slices; write it as \.tif"):
        write_labels(tmp_path / "m.png", np.zeros((5, 6, 4), np.uint8), like=picture(tmp_path, (4, 5, 6)))
    assert not (tmp_path / "m.png").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "m.jpg",
            r"JPEG changes the values of pixels; expected a mask ending in \.ome\.tiff, .*; choose one of them",
        ),
        ("m.bmp", r"expected a mask ending in "),
        (
            "m.txt",
            r"m\.txt: expected a name ending in \.nii\.gz, .*\.png, \.ome\.zarr, \.zarr; add one of them",
        ),
        (
            "image.zarr/other",
            r"expected a folder ending in \.zarr, or IMAGE\.zarr/labels/NAME of an image that exists",
        ),
    ],
)
def test_names_that_say_no_format_are_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadImageError, match=text):
        write_labels(tmp_path / name, np.zeros((5, 6, 1), np.uint8), like=picture(tmp_path))


def test_the_image_is_never_replaced(tmp_path: Path) -> None:
    image = picture(tmp_path)
    with pytest.raises(ConfigError, match=r"image\.ome\.tif: is the image itself, which would be lost"):
        write_labels(tmp_path / "image.ome.tif", np.zeros((5, 6, 1), np.uint8), like=image)


def test_the_image_is_not_replaced_by_way_of_a_link(tmp_path: Path) -> None:
    image = picture(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is the image itself, which would be lost"):
        write_labels(tmp_path / "link" / "image.ome.tif", np.zeros((5, 6, 1), np.uint8), like=image)


@pytest.mark.parametrize(("side", "pools"), [(512, 0), (1100, 1)])
def test_threads_are_started_for_large_masks_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, pools: int
) -> None:
    started = []

    def pool(workers: int) -> ThreadPoolExecutor:
        started.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(tifffile.TIFF, "MAXWORKERS", 8)
    monkeypatch.setattr("tifffile.tifffile.ThreadPoolExecutor", pool)
    labels = np.random.default_rng(0).integers(0, 1000, (side, side, 1))
    image = picture(tmp_path, (side, side))
    write_labels(tmp_path / "m.tif", labels, like=image)
    assert len(started) == pools
    assert np.array_equal(tifffile.imread(tmp_path / "m.tif"), labels[..., 0])


def test_a_mask_of_a_patient_is_no_tiff(tmp_path: Path, tiny_nifti) -> None:
    from medconv.io import read_volume as read_nifti

    scan = read_nifti(tiny_nifti("scan.nii.gz"))
    with pytest.raises(
        ConfigError, match=r"expected a mask of scan\.nii\.gz ending in \.nii\.gz; \.tif cannot say where"
    ):
        write_labels(tmp_path / "m.tif", np.zeros(scan.shape, np.uint8), like=scan)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        GeometryError, match=r"expected voxels of its shape \(5, 6, 1\) to write on its grid, got \(6, 5, 1\)"
    ):
        write_labels(tmp_path / "m.tif", np.zeros((6, 5, 1), np.uint8), like=picture(tmp_path))


def test_a_mask_as_nifti_has_no_unit_where_nobody_knows_it(tmp_path: Path) -> None:
    image = picture(tmp_path, size_um=None)
    write_labels(tmp_path / "m.nii.gz", np.ones((5, 6, 1), np.uint8), like=image)
    header = read_nifti_labels(tmp_path / "m.nii.gz").header
    assert header.get_xyzt_units()[0] == "unknown"


def test_masks_are_called_after_their_images() -> None:
    names = ["a.jpg", "a.bmp", "a.tiff", "a.OME.TIF", "a.ome.zarr", "series"]
    assert [mask_suffix_for(name) for name in names] == [
        ".tif",
        ".tif",
        ".tiff",
        ".OME.TIF",
        ".ome.zarr",
        ".nii.gz",
    ]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr", ".nii.gz"])
@pytest.mark.parametrize("names", [{}, {0: "background", 1: 'left "cell" & <nucleus>', 2: "Zellkörper"}])
def test_names_of_labels_come_back(tmp_path: Path, suffix: str, names: dict[int, str]) -> None:
    write_labels(tmp_path / f"m{suffix}", np.ones((5, 6, 1), np.uint8), picture(tmp_path), names)
    found = read_label_names(tmp_path / f"m{suffix}")
    assert {label: name for label, name in found.items() if label} == {n: t for n, t in names.items() if n}


def test_a_png_has_no_place_for_names(tmp_path: Path) -> None:
    write_labels(tmp_path / "m.png", np.ones((5, 6, 1), np.uint8), picture(tmp_path), {1: "nucleus"})
    assert read_label_names(tmp_path / "m.png") == {}
