"""PNG, JPEG and BMP as volumes, against Pillow and NumPy."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from medconv.errors import BadImageError
from medconv.io import ImageLayout, read_image, reader_for
from medconv.io.microscopy import read_header, read_volume

GREY = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16]), hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)
)


@settings(max_examples=20)
@given(GREY)
def test_grey_values_are_what_was_saved(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("raster") / "a.png"
    Image.fromarray(pixels).save(path)
    volume = read_volume(path)
    assert volume.data.dtype == np.float32
    assert np.array_equal(volume.data[0, :, :, 0], pixels)
    header = read_header(path)
    assert (header.shape, header.channels) == (volume.shape, 1)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_colours_are_channels_in_order(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    volume = read_image([tmp_path / f"a{suffix}"], channels=3)
    assert np.array_equal(volume.data[..., 0], pixels.transpose(2, 0, 1))


def test_chosen_channels_come_in_the_order_in_which_they_are_chosen(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "a.png")
    volume = read_volume(path, channels=2, layout=ImageLayout(channels=(2, 0)))
    assert np.array_equal(volume.data[..., 0], pixels.transpose(2, 0, 1)[[2, 0]])
    assert read_header(path, layout=ImageLayout(channels=(1,))).channels == 1


def test_a_jpeg_is_close_to_what_was_saved(tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    volume = read_volume(tmp_path / "a.jpg")
    assert volume.shape == (64, 48, 1)
    assert np.abs(volume.data[0, ..., 0] - pixels).max() <= 3


def test_an_image_without_a_size_is_counted_in_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png", dpi=(72, 72))
    geometry = read_volume(tmp_path / "a.png").geometry
    assert (geometry.unit, geometry.spacing_mm) == ("px", (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("sizes", "spacing"), [((0.5,), (0.0005, 0.0005)), ((0.5, 0.25), (0.0005, 0.00025))])
def test_a_stated_size_is_in_mm(tmp_path: Path, sizes: tuple[float, ...], spacing: tuple[float, ...]) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    geometry = read_volume(tmp_path / "a.png", layout=ImageLayout(pixel_size_um=sizes)).geometry
    assert geometry.unit == "mm"
    np.testing.assert_allclose(geometry.spacing_mm[:2], spacing, rtol=1e-12)


def test_rows_run_downwards_in_a_viewer_of_volumes(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "a.png")
    assert read_volume(tmp_path / "a.png").geometry.orientation == "PRS"


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opacity_that_is_everywhere_the_same_is_let_go(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (6, 4), (10, 20, 30, 255) if mode == "RGBA" else (10, 255)).save(tmp_path / "a.png")
    volume = read_volume(tmp_path / "a.png")
    assert [float(channel.max()) for channel in volume.data] == ([10, 20, 30] if mode == "RGBA" else [10])


def test_transparent_pixels_are_refused_unless_channels_are_chosen(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), 9, np.uint8)
    pixels[0, 0, 3] = 255
    Image.fromarray(pixels).save(path := tmp_path / "a.png")
    with pytest.raises(
        BadImageError, match=r"alpha channel runs from 9 to 255; flatten it, or .* --channel 0 1 2"
    ):
        read_volume(path)
    assert read_volume(path, layout=ImageLayout(channels=(0, 1, 2))).channels == 3


def test_a_grey_palette_is_grey_and_a_coloured_one_three_channels(tmp_path: Path) -> None:
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    for name, palette in {
        "grey": [0, 0, 0, 90, 90, 90, 200, 200, 200],
        "colour": [0, 0, 0, 9, 8, 7, 1, 2, 3],
    }.items():
        image = Image.fromarray(indices)
        image.putpalette(palette)
        image.save(tmp_path / f"{name}.png")
    grey = read_volume(tmp_path / "grey.png")
    assert grey.data[0, ..., 0].tolist() == [[0, 90], [200, 90]]
    colour = read_volume(tmp_path / "colour.png")
    assert colour.data[:, 0, 1, 0].tolist() == [9, 8, 7]
    assert read_header(tmp_path / "colour.png").channels == 3


def test_a_one_bit_image_is_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "a.png")
    assert np.array_equal(read_volume(tmp_path / "a.png").data[0, ..., 0], np.eye(5))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_truncated_file_is_named(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rng.integers(0, 256, (64, 64), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(BadImageError, match=rf"a\{suffix}: damaged or truncated \(.*\); copy it again"):
        read_volume(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"GIF89a\x01\x00\x01\x00"])
def test_another_content_than_the_name_says_is_refused(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "a.png").write_bytes(content)
    with pytest.raises(
        BadImageError, match=r"a\.png: damaged or no PNG file \(.*\); copy it again from its source"
    ):
        read_header(path)


def claim_size(path: Path, side: int) -> None:
    """Let the header of a PNG file say another size."""
    content = bytearray(path.read_bytes())
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def test_more_pixels_than_the_bytes_can_hold_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path := tmp_path / "a.png")
    claim_size(path, 60_000)
    with pytest.raises(BadImageError, match=r"3,600,000,000 pixels cannot lie in \d+ bytes"):
        read_volume(path)


def test_a_bomb_is_refused_and_a_large_image_is_not(tmp_path: Path, rng: np.random.Generator) -> None:
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(path := tmp_path / "a.png")
    with pytest.raises(BadImageError, match=r"\(64, 64\) = 4,096 values .* more than max_voxels=4,095"):
        read_volume(path, max_voxels=4095)
    # Pillow itself would warn from 89 million pixels on, and refuse from 179 million on
    Image.fromarray(rng.integers(0, 256, (200, 200), np.uint8)).save(path)
    claim_size(path, 14_000)
    assert read_header(path).shape == (14_000, 14_000, 1)


def test_other_numbers_of_channels_are_refused_with_the_way_to_choose(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path := tmp_path / "a.png")
    with pytest.raises(BadImageError, match=r"expected 1 channel\(s\), got 3; choose one .* --channel 0\)"):
        read_volume(path, channels=1)
    with pytest.raises(BadImageError, match=r"expected 4 channel\(s\), got 3; take the right file"):
        read_volume(path, channels=4)
    with pytest.raises(BadImageError, match=r"expected channels from 0 to 2, which it has, got \[3\]"):
        read_header(path, layout=ImageLayout(channels=(3,)))


def test_moving_and_printed_images_are_refused(tmp_path: Path) -> None:
    frames = [Image.new("L", (6, 4), value) for value in (0, 9, 99)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(BadImageError, match=r"expected one image, got 3 frames"):
        read_header(tmp_path / "a.png")
    Image.new("CMYK", (6, 4)).save(tmp_path / "a.jpg")
    with pytest.raises(
        BadImageError, match=r"expected grey values or red, green and blue, got CMYK; save it as RGB"
    ):
        read_header(tmp_path / "a.jpg")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match=r"gone\.png: no such file; check the path"):
        read_volume(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadImageError, match=r"expected an image file, got a folder; name a file in it"):
        read_volume(tmp_path / "folder.png")


def test_axes_may_be_stated_and_have_to_fit(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(path := tmp_path / "a.png")
    assert read_header(path, layout=ImageLayout(axes="yxc")).shape == (4, 6, 1)
    with pytest.raises(
        BadImageError, match=r"got --axes YX for the shape \(4, 6, 3\), which the file calls YXC"
    ):
        read_header(path, layout=ImageLayout(axes="YX"))


def test_the_reader_is_chosen_by_name(tmp_path: Path) -> None:
    assert reader_for("a.JPG").name == "PNG, JPEG and BMP"


def test_real_nuclei_are_read_as_pillow_reads_them(real_data: Path) -> None:
    paths = sorted((real_data / "nuclei" / "images").glob("*.png"))[:5]
    for path in paths:
        with Image.open(path) as image:
            assert np.array_equal(read_volume(path).data[0, ..., 0], np.asarray(image))
        label = reader_for(path).read_labels(path.parent.parent / "labels" / path.name)
        with Image.open(path.parent.parent / "labels" / path.name) as image:
            assert np.array_equal(label.data[0, ..., 0], np.asarray(image))


def test_colours_of_16_bits_lose_half_of_them_and_that_is_told(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    row = b"\0" + np.array([[0x1234, 0x5678, 0x9ABC], [1, 2, 3]], ">u2").tobytes()
    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(row))
        + chunk(b"IEND", b"")
    )
    (path := tmp_path / "a.png").write_bytes(content)
    with pytest.warns(UserWarning, match=r"of the 16 bits a colour the upper 8 are read; save it as TIFF"):
        volume = read_volume(path)
    assert volume.data[:, 0, 0, 0].tolist() == [0x12, 0x56, 0x9A]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pixels_that_are_to_be_shown_turned_are_refused(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    for turn in (1, 6):
        exif[274] = turn
        Image.fromarray(np.zeros((8, 6), np.uint8)).save(tmp_path / f"turn_{turn}{suffix}", exif=exif)
    assert read_volume(tmp_path / f"turn_1{suffix}").shape == (8, 6, 1)
    for read in (read_header, read_volume):
        with pytest.raises(
            BadImageError, match=r"file says that they are to be shown turned \(orientation 6\)"
        ):
            read(tmp_path / f"turn_6{suffix}")


def test_a_palette_that_cannot_be_one_is_a_damaged_file(tmp_path: Path, rng: np.random.Generator) -> None:
    image = Image.fromarray(rng.integers(0, 256, (40, 40), np.uint8)).convert("P")
    path = tmp_path / "a.bmp"
    image.save(path)
    content = bytearray(path.read_bytes())
    content[46:50] = (300).to_bytes(4, "little")  # colours, of which a byte can name 256
    path.write_bytes(bytes(content))
    with pytest.raises(BadImageError, match=r"a\.bmp: damaged .*; copy it again from its source"):
        read_header(path)
