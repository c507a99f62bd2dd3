"""Label maps of microscopy: what is a label, and what is a colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from medconv.errors import BadImageError, GeometryError, VoxelValueError
from medconv.io import ImageLayout, read_image
from medconv.io.microscopy import read_labels

MASK = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


def saved(path: Path, pixels: np.ndarray) -> Path:
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("allowed", [None, {0, 1}])
def test_masks_of_0_and_255_are_0_and_1_and_it_is_told(
    tmp_path: Path, suffix: str, allowed: set[int] | None
) -> None:
    path = saved(tmp_path / f"m{suffix}", MASK * 255)
    with pytest.warns(UserWarning, match=r"a mask of the values 0 and 255 was taken for one of 0 and 1"):
        labels = read_labels(path, allowed=allowed)
    assert np.array_equal(labels.data[0, ..., 0], MASK)
    assert labels.data.dtype == np.uint8


def test_masks_of_16_bits_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", MASK.astype(np.uint16) * 65_535)
    with pytest.warns(UserWarning, match=r"0 and 65535 was taken for one of 0 and 1"):
        assert np.array_equal(read_labels(path).data[0, ..., 0], MASK)


def test_255_stays_where_it_is_declared_or_where_there_are_other_labels(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.png", MASK * 255)
    assert read_labels(path, allowed={0, 1, 255}).data.max() == 255
    with pytest.raises(
        VoxelValueError, match=r"expected only the labels \[0, 1, 2\], got also 255 \(3 voxels\)"
    ):
        read_labels(path, allowed={0, 1, 2})
    mixed = saved(tmp_path / "n.png", np.array([[0, 1, 255]], np.uint8))
    assert read_labels(mixed).data.max() == 255


def test_one_bit_masks_are_0_and_1(tmp_path: Path) -> None:
    for suffix in (".png", ".tif"):
        labels = read_labels(saved(tmp_path / f"m{suffix}", MASK.astype(bool)))
        assert np.array_equal(labels.data[0, ..., 0], MASK)
        assert labels.data.dtype == np.uint8


def test_of_a_palette_the_number_is_the_label(tmp_path: Path) -> None:
    image = Image.fromarray(MASK)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "m.png")
    assert np.array_equal(read_labels(tmp_path / "m.png").data[0, ..., 0], MASK)


def test_grey_in_three_channels_is_one_and_colours_are_no_labels(tmp_path: Path) -> None:
    grey = saved(tmp_path / "g.png", np.stack([MASK * 3] * 3, -1))
    assert np.array_equal(read_labels(grey).data[0, ..., 0], MASK * 3)
    with_alpha = saved(tmp_path / "a.png", np.stack([MASK * 3] * 3 + [np.full_like(MASK, 255)], -1))
    assert np.array_equal(read_labels(with_alpha).data[0, ..., 0], MASK * 3)
    colours = saved(tmp_path / "c.png", np.stack([MASK * 3, MASK * 4, MASK], -1))
    with pytest.raises(
        BadImageError,
        match=r"expected one number a pixel as its label, got 2 colours in 3 channels; give each colour",
    ):
        read_labels(colours)


def test_jpeg_holds_no_labels(tmp_path: Path) -> None:
    with pytest.raises(BadImageError, match=r"JPEG changes the values of pixels; save labels as PNG or TIFF"):
        read_labels(saved(tmp_path / "m.jpg", MASK))


@pytest.mark.parametrize(
    ("largest", "dtype"), [(255, np.uint8), (256, np.uint16), (65_536, np.uint32), (10**9, np.uint32)]
)
def test_numbers_of_objects_need_not_follow_each_other(tmp_path: Path, largest: int, dtype: type) -> None:
    pixels = np.zeros((4, 5), np.uint32)
    pixels[0, :2], pixels[2, 3] = (7, largest), 100
    labels = read_labels(saved(tmp_path / "m.tif", pixels))
    assert np.array_equal(labels.data[0, ..., 0], pixels)
    assert labels.data.dtype == dtype


def test_real_and_signed_numbers_are_labels_if_they_are_whole(tmp_path: Path) -> None:
    whole = saved(tmp_path / "f.tif", np.array([[0.0, 3.0]], np.float32))
    assert read_labels(whole).data.ravel().tolist() == [0, 3]
    with pytest.raises(
        VoxelValueError, match=r"expected whole label values, got 1 voxels that are not \(0\.5\)"
    ):
        read_labels(saved(tmp_path / "h.tif", np.array([[0.0, 0.5]], np.float32)))
    with pytest.raises(VoxelValueError, match=r"expected labels from 0 to 2\^32 - 1, got -1 to 0"):
        read_labels(saved(tmp_path / "i.tif", np.array([[0, -1]], np.int16)))


def test_an_empty_label_map_is_one(tmp_path: Path) -> None:
    labels = read_labels(saved(tmp_path / "m.png", np.zeros((3, 4), np.uint16)), allowed={0, 1})
    assert labels.data.dtype == np.uint8
    assert not labels.data.any()


def test_labels_lie_on_their_image_and_take_its_size(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "i.ome.tif",
        np.zeros((2, 3), np.uint8),
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    )
    image = read_image([tmp_path / "i.ome.tif"])
    labels = read_labels(saved(tmp_path / "m.png", MASK), like=image)
    assert labels.geometry.unit == "mm"
    assert labels.geometry.spacing_mm == image.geometry.spacing_mm
    other = saved(tmp_path / "o.png", MASK.T.copy())
    with pytest.raises(
        GeometryError, match=r"o\.png: expected the shape \(2, 3, 1\) of .*i\.ome\.tif, got \(3, 2, 1\)"
    ):
        read_labels(other, like=image)


def test_what_is_stated_of_images_holds_for_labels_without_channels(tmp_path: Path) -> None:
    stack = np.zeros((4, 2, 3), np.uint8)
    stack[3, 1, 2] = 5
    labels = read_labels(saved(tmp_path / "m.tif", stack), layout=ImageLayout("ZCYX", (1,), (0.5,)))
    assert labels.data[0, 1, 2, 3] == 5
    assert labels.geometry.unit == "mm"
