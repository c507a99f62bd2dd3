"""TIFF, ImageJ-TIFF and OME-TIFF as volumes, against tifffile and NumPy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from medconv.errors import BadImageError
from medconv.io import ImageLayout
from medconv.io.microscopy import read_header, read_labels, read_volume
from medconv.io.microscopy.tiff_size import imagej_sizes_um, ome_sizes_um

TYPES = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float16, np.float32, np.float64]
SIZES = {"C": 3, "Z": 4, "Y": 5, "X": 6}


def volume_of(stored: np.ndarray, axes: str) -> np.ndarray:
    """``(C, Y, X, Z)`` as NumPy alone makes it."""
    present = "".join(letter for letter in "CYXZ" if letter in axes)
    turned = np.einsum(f"{axes}->{present}", stored)
    return turned.reshape([SIZES[letter] if letter in axes else 1 for letter in "CYXZ"])


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_pixel_is_read(tmp_path: Path, rng: np.random.Generator, dtype: type) -> None:
    pixels = (rng.random((5, 6)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    volume = read_volume(tmp_path / "a.tif")
    assert np.array_equal(volume.data[0, ..., 0], pixels.astype(np.float32))
    assert (volume.geometry.unit, volume.geometry.spacing_mm) == ("px", (1.0, 1.0, 1.0))


@settings(max_examples=30)
@given(st.permutations("CZYX"), st.integers(2, 4))
def test_stated_axes_of_any_order_are_turned(
    tmp_path_factory: pytest.TempPathFactory, letters: list[str], length: int
) -> None:
    axes = "".join(letters)
    axes = "".join(letter for letter in axes if letter in "YX" or length >= {"C": 3, "Z": 4}[letter])
    stored = np.arange(np.prod([SIZES[a] for a in axes]), dtype=np.uint16).reshape([SIZES[a] for a in axes])
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    tifffile.imwrite(path, stored, photometric="minisblack")
    volume = read_volume(path, layout=ImageLayout(axes=axes))
    assert np.array_equal(volume.data, volume_of(stored, axes))
    header = read_header(path, layout=ImageLayout(axes=axes))
    assert (header.channels, header.shape) == (volume.channels, volume.shape)


@pytest.mark.parametrize("axes", ["YX", "ZYX", "CYX", "CZYX", "ZCYX"])
def test_ome_says_its_axes_and_sizes(tmp_path: Path, rng: np.random.Generator, axes: str) -> None:
    stored = rng.integers(0, 999, [SIZES[a] for a in axes]).astype(np.uint16)
    metadata = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeY": 500.0, "PhysicalSizeYUnit": "nm"}
    metadata |= {"PhysicalSizeZ": 2.0} if "Z" in axes else {}
    tifffile.imwrite(tmp_path / "a.ome.tif", stored, metadata=metadata, photometric="minisblack")
    volume = read_volume(tmp_path / "a.ome.tif")
    assert np.array_equal(volume.data, volume_of(stored, axes))
    assert volume.geometry.unit == "mm"
    np.testing.assert_allclose(volume.geometry.spacing_mm, (5e-4, 2.5e-4, 2e-3 if "Z" in axes else 1.0))


def test_imagej_says_its_axes_and_sizes(tmp_path: Path, rng: np.random.Generator) -> None:
    stored = rng.integers(0, 999, (4, 3, 5, 6)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "ZCYX", "unit": "um", "spacing": 2.0},
    )
    volume = read_volume(tmp_path / "a.tif")
    assert np.array_equal(volume.data, volume_of(stored, "ZCYX"))
    np.testing.assert_allclose(volume.geometry.spacing_mm, (5e-4, 2.5e-4, 2e-3), rtol=1e-6)


def test_resolutions_count_in_centimetres_and_not_in_inches(tmp_path: Path) -> None:
    for unit in ("CENTIMETER", "INCH", "NONE"):
        tifffile.imwrite(
            tmp_path / f"{unit}.tif",
            np.zeros((4, 6), np.uint8),
            resolution=(20_000, 40_000),
            resolutionunit=unit,
        )
    geometry = read_volume(tmp_path / "CENTIMETER.tif").geometry
    np.testing.assert_allclose(geometry.spacing_mm[:2], (2.5e-4, 5e-4))
    assert read_volume(tmp_path / "INCH.tif").geometry.unit == "px"
    assert read_volume(tmp_path / "NONE.tif").geometry.unit == "px"


def test_sizes_that_are_none_are_left_out() -> None:
    assert ome_sizes_um('<Pixels PhysicalSizeX="0" PhysicalSizeY="nan" PhysicalSizeZ="2"/>') == {"Z": 2.0}
    assert ome_sizes_um('<Pixels PhysicalSizeX="1" PhysicalSizeXUnit="pixel"/>') == {}
    assert ome_sizes_um("no pixels at all") == {}
    assert imagej_sizes_um({"unit": "pixel", "spacing": 1.0}, {"Y": 1.0, "X": 1.0}) == {}
    assert imagej_sizes_um({"unit": "\\u00B5m"}, {"Y": 0.5, "X": 0.5}) == {"Y": 0.5, "X": 0.5}
    assert imagej_sizes_um({}, {"Y": 0.5, "X": 0.5}) == {}


def test_a_stack_of_unknown_thickness_is_counted_in_pixels_and_says_so(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((4, 5, 6), np.uint8),
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    with pytest.warns(
        UserWarning, match=r"the pixel size along Z is not known, so lengths are in pixels; state all"
    ):
        volume = read_volume(tmp_path / "a.tif")
    assert volume.geometry.unit == "px"


def test_a_stated_size_wins_and_the_contradiction_is_told(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        np.zeros((5, 6), np.uint8),
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    )
    with pytest.warns(UserWarning, match=r"the file says 0\.5 µm along [YX], the stated 0\.65 µm is taken"):
        volume = read_volume(tmp_path / "a.ome.tif", layout=ImageLayout(pixel_size_um=(0.65,)))
    np.testing.assert_allclose(volume.geometry.spacing_mm[:2], (6.5e-4, 6.5e-4))


def test_pages_without_a_meaning_are_asked_for(tmp_path: Path) -> None:
    pages = np.arange(3 * 5 * 6, dtype=np.uint8).reshape(3, 5, 6)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for page in pages:
            tiff.write(page, metadata=None, contiguous=False)
    with pytest.raises(
        BadImageError,
        match=r"shape \(3, 5, 6\), and the file does not say what the 3 images of it are; "
        r"state --axes ZYX if they are slices or --axes CYX if they are channels",
    ):
        read_header(tmp_path / "a.tif")
    as_slices = read_volume(tmp_path / "a.tif", layout=ImageLayout(axes="ZYX"))
    assert np.array_equal(as_slices.data[0], pages.transpose(1, 2, 0))
    as_channels = read_volume(tmp_path / "a.tif", layout=ImageLayout(axes="CYX"))
    assert np.array_equal(as_channels.data[..., 0], pages)


def test_several_times_are_refused_and_one_is_not(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", np.zeros((2, 5, 6), np.uint8), metadata={"axes": "TYX"})
    with pytest.raises(
        BadImageError, match=r"expected one image, got 2 times .* or state --axes ZYX to take them for slices"
    ):
        read_header(tmp_path / "a.ome.tif")
    tifffile.imwrite(tmp_path / "b.ome.tif", np.zeros((1, 4, 5, 6), np.uint8), metadata={"axes": "TZYX"})
    assert read_header(tmp_path / "b.ome.tif").shape == (5, 6, 4)


def test_too_many_axes_of_no_meaning_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 4, 5, 6), np.uint8), photometric="minisblack")
    with pytest.raises(
        BadImageError, match=r"with 3 axes of which the file does not say what they are; save it as OME-TIFF"
    ):
        read_header(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((3, 4, 5, 6), np.uint8), photometric="minisblack")
    with pytest.raises(
        BadImageError, match=r"what the 3 and 4 images of it are; state --axes, such as ZCYX or CZYX"
    ):
        read_header(tmp_path / "b.tif")


def test_colours_are_channels_whether_planar_or_not(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (5, 6, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    tifffile.imwrite(
        tmp_path / "b.tif", pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    for name in ("a.tif", "b.tif"):
        assert np.array_equal(read_volume(tmp_path / name).data[..., 0], pixels.transpose(2, 0, 1))


def test_opacity_of_a_tiff_is_no_intensity(tmp_path: Path) -> None:
    pixels = np.full((5, 6, 4), 9, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert read_volume(tmp_path / "a.tif").channels == 3
    pixels[0, 0, 3] = 0
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    with pytest.raises(BadImageError, match=r"expected an opaque image, its alpha channel runs from 0 to 9"):
        read_volume(tmp_path / "b.tif")


def test_a_palette_is_applied_to_images_and_not_to_labels(tmp_path: Path) -> None:
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 1:3] = np.array([[9, 8, 7], [1, 2, 3]], np.uint16).T * 257
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    assert read_volume(tmp_path / "a.tif").data[:, 0, 1, 0].tolist() == [9, 8, 7]
    assert np.array_equal(read_labels(tmp_path / "a.tif").data[0, ..., 0], indices)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_is_named_before_zeros_are_read(
    tmp_path: Path, rng: np.random.Generator, compression: str | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        rng.integers(0, 256, (9, 64, 64), np.uint8),
        compression=compression,
        metadata={"axes": "ZYX"},
        imagej=True,
    )
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(
        BadImageError, match=r"a\.tif: damaged or (truncated|no TIFF file) \(.*\); copy it again"
    ):
        read_volume(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image"])
def test_another_content_than_the_name_says_is_refused(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(
        BadImageError, match=r"a\.tif: (damaged or no TIFF file|expected an image, the file holds none)"
    ):
        read_header(path)


def test_pages_of_several_sizes_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(np.zeros((5, 6), np.uint8))
        tiff.write(np.zeros((7, 8), np.uint8))
    with pytest.raises(
        BadImageError, match=r"got 2 that do not fit together \(\(5, 6\), \(7, 8\)\); save each as a file"
    ):
        read_header(tmp_path / "a.tif")


def test_complex_and_infinite_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.complex64))
    with pytest.raises(BadImageError, match=r"expected integer or real pixels, got complex64"):
        read_header(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.full((5, 6), np.nan, np.float32))
    with pytest.raises(BadImageError, match=r"expected finite float32 voxels, got 30 NaN"):
        read_volume(tmp_path / "b.tif")


def test_bright_zeros_are_told(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6), np.uint8), photometric="miniswhite")
    with pytest.warns(UserWarning, match=r"low values are shown bright \(MinIsWhite\)"):
        read_volume(tmp_path / "a.tif")


def test_a_compression_without_its_library_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((32, 32), np.uint8), compression="lzw")
    script = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from medconv.io.microscopy import read_volume\n"
        f"try: read_volume({str(tmp_path / 'a.tif')!r})\n"
        "except Exception as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert (
        "a.tif: compressed with LZW, which needs imagecodecs; pip install imagecodecs, or save the image"
        in said
    )


def test_pixels_that_are_to_be_shown_turned_are_refused(tmp_path: Path) -> None:
    for turn in (1, 6):
        tag = (274, "H", 1, turn, True)
        tifffile.imwrite(tmp_path / f"turn_{turn}.tif", np.zeros((8, 6), np.uint8), extratags=[tag])
    assert read_header(tmp_path / "turn_1.tif").shape == (8, 6, 1)
    with pytest.raises(BadImageError, match=r"to be shown turned \(orientation 6\).*save it upright"):
        read_header(tmp_path / "turn_6.tif")
