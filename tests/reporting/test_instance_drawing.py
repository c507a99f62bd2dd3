"""Pictures of objects: right pixels in right colours, files that other programs open."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from medconv.errors import ShapeError
from medconv.inference import Prediction
from medconv.inference.companions import Place
from medconv.io import volume_from_array
from medconv.metrics.objects import number_objects
from medconv.reporting.instance_drawing import (
    ERROR_COLOURS,
    OBJECT_COLOURS,
    draw_instance_errors,
    draw_instances,
    neighbour_colours,
    png_bytes,
)
from medconv.reporting.png import indexed_png
from medconv.reporting.preview import Preview, draw_prediction


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgb(colour))


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pixel) for pixel in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def discs(seed: int, count: int = 14, shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    labels = np.zeros(shape, np.int64)
    for number in rng.choice(np.arange(1, 10**6), count, replace=False):
        row, column = (int(rng.integers(n)) for n in shape)
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= rng.uniform(3, 9) ** 2] = number
    return labels


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_neighbours_have_different_colours(seed: int) -> None:
    _, places = number_objects(discs(seed))
    colours = neighbour_colours(places, int(places.max()))
    assert colours[0] == 0
    assert set(colours[1:]) <= set(range(1, len(OBJECT_COLOURS) + 1))
    for one, other in (
        (places[1:], places[:-1]),
        (places[:, 1:], places[:, :-1]),
        (places[:, 3:], places[:, :-3]),
    ):
        pairs = np.unique(np.stack([one[one != other], other[one != other]]), axis=1).T
        for first, second in pairs[(pairs > 0).all(axis=1)]:
            beside = np.unique(pairs[(pairs == first).any(axis=1)])
            if len(beside) <= len(OBJECT_COLOURS):
                assert colours[first] != colours[second]


def test_objects_are_filled_faintly_and_outlined_fully(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), int)
    labels[2:7, 2:7] = 4
    picture = draw_instances(np.zeros((9, 9)), labels, tmp_path / "a/preview.png")
    colour = np.array(rgb(OBJECT_COLOURS[0]))
    assert tuple(picture[2, 4]) == tuple(colour)
    np.testing.assert_allclose(picture[4, 4], 0.3 * colour, atol=1)
    assert tuple(picture[0, 0]) == (0, 0, 0)
    again = imread(tmp_path / "a/preview.png")
    np.testing.assert_array_equal(np.rint(again[..., :3] * 255), picture)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["preview.png"]


def test_grey_values_stay_grey_and_large_images_become_small() -> None:
    image = np.tile(np.linspace(0, 1, 5000), (3, 1))
    picture = draw_instances(image, np.zeros((3, 5000), int))
    assert picture.shape == (1, 1667, 3)
    assert (picture.min(), picture.max()) == (0, 255)
    assert (picture == picture[..., :1]).all()
    assert not draw_instances(np.full((4, 4), np.nan), np.zeros((4, 4), int)).any()


def test_found_missed_and_invented_have_their_colours() -> None:
    ref, pred = np.zeros((2, 40, 40), int)
    ref[2:12, 2:12], ref[2:12, 20:30] = 1, 2
    pred[3:12, 2:12], pred[25:35, 20:30] = 5, 6
    picture = draw_instance_errors(np.zeros((40, 40)), pred, ref)
    scale = picture.shape[0] // 40
    assert picture.shape == (40 * scale, 40 * scale, 3)
    assert colours_in(picture) == {(0, 0, 0), *map(rgb, ERROR_COLOURS.values())}
    assert tuple(picture[2 * scale, 25 * scale]) == rgb(ERROR_COLOURS["missed"])
    assert tuple(picture[25 * scale, 25 * scale]) == rgb(ERROR_COLOURS["invented"])
    assert tuple(picture[2 * scale, 6 * scale]) == rgb(ERROR_COLOURS["found"])
    nothing = draw_instance_errors(np.zeros((40, 40)), pred * 0, ref * 0)
    assert colours_in(nothing) == {(0, 0, 0)}
    np.testing.assert_array_equal(np.rint(255 * imread(io.BytesIO(png_bytes(picture)))[..., :3]), picture)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="of one shape"):
        draw_instances(np.zeros((4, 4)), np.zeros((4, 5), int))
    with pytest.raises(ShapeError, match=r"expected an image \(rows, columns\), got \(2, 4, 4\)"):
        draw_instances(np.zeros((2, 4, 4)), np.zeros((2, 4, 4), int))
    with pytest.raises(ShapeError, match="integer or boolean labels"):
        draw_instance_errors(np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4), int))


def test_a_palette_file_says_every_pixel() -> None:
    rng = np.random.default_rng(0)
    indices, palette = rng.integers(0, 256, (13, 17)).astype(np.uint8), rng.integers(0, 256, (256, 3))
    for level in (1, 9):
        data = io.BytesIO(indexed_png(indices, palette.astype(np.uint8), level))
        np.testing.assert_array_equal(np.rint(imread(data)[..., :3] * 255), palette[indices])


def prediction(labels: np.ndarray) -> Prediction:
    volume = volume_from_array((labels > 0) * 5.0, (0.001, 0.001, 0.001))
    return Prediction(labels.astype(np.uint16), volume, {0: "background", 1: "nucleus"}, {}, has_objects=True)


def test_the_preview_of_objects_is_the_slice_with_most_of_them(tmp_path: Path) -> None:
    _, places = number_objects(discs(1))
    preview = Preview(Place(is_alone=False))
    preview.write(prediction(places[..., None]), tmp_path / "a.tif")
    (path,) = preview.files(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        np.rint(imread(path)[..., :3] * 255), draw_instances((places > 0) * 5.0, places)
    )
    stack = np.stack([places * 0, places, places * (places < 3)], axis=2)
    preview.write(prediction(stack), tmp_path / "b.tif")
    np.testing.assert_array_equal(imread(preview.files(tmp_path / "b.tif")[0]), imread(path))
    picture = draw_prediction(prediction(places[..., None]), tmp_path / "big.png", "cell")
    assert picture.axes[0].get_title() == f"cell   {places.max()} objects"
    assert (tmp_path / "big.png").stat().st_size > 1000
