from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.contour import QuadContourSet
from matplotlib.image import imread

from medconv.errors import GeometryError, ShapeError
from medconv.reporting import Picture, draw_overlay
from medconv.reporting.figure import CLASS_COLOURS, class_colour

Array = npt.NDArray[Any]
NAMES = {0: "background", 1: "head", 2: "tail"}


def volume() -> tuple[Array, Array]:
    image = np.random.default_rng(0).normal(100, 20, (20, 16, 12))
    labels = np.zeros(image.shape, np.uint8)
    labels[4:10, 4:10, 3:8], labels[10:15, 4:10, 3:8] = 1, 2
    return image, labels


def texts(picture: Picture) -> str:
    legend = [t.get_text() for legend in picture.legends for t in legend.get_texts()]
    return "\n".join([t.get_text() for t in picture.texts] + legend)


def outlines(picture: Picture) -> list[QuadContourSet]:
    return [c for ax in picture.axes for c in ax.collections if isinstance(c, QuadContourSet)]


def test_panels_have_physical_proportions() -> None:
    image, labels = volume()
    picture = draw_overlay(image, labels, labels, (1.0, 0.5, 3.0))
    size_mm = np.array(image.shape) * (1.0, 0.5, 3.0)
    boxes = [ax.get_window_extent() for ax in picture.axes]
    scales = []
    for box, (across, up) in zip(boxes, [(0, 1), (0, 2), (1, 2)], strict=True):
        scales += [box.width / size_mm[across], box.height / size_mm[up]]
    np.testing.assert_allclose(scales, scales[0])
    assert [ax.get_aspect() for ax in picture.axes] == [1, 1, 1]


def test_slices_go_through_the_structures_and_show_them_where_they_are() -> None:
    image, _ = volume()
    labels = np.zeros(image.shape, np.uint8)
    labels[3, 5, 7] = 1
    picture = draw_overlay(image, labels, None, (2.0, 1.0, 0.5))
    drawn = [np.asarray(ax.images[0].get_array()) for ax in picture.axes]
    expected = [image[:, :, 7].T, image[:, 5, :].T, image[3, :, :].T]
    for got, want in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(got, want.astype(np.float32))
    centres_mm = (7.0, 5.5, 3.75)
    for contour, (across, up) in zip(outlines(picture), [(0, 1), (0, 2), (1, 2)], strict=True):
        middle = contour.get_paths()[0].vertices[:-1].mean(0)
        np.testing.assert_allclose(middle, (centres_mm[across], centres_mm[up]))


def test_truth_is_solid_prediction_dashed_and_a_class_keeps_its_colour() -> None:
    image, labels = volume()
    picture = draw_overlay(image, labels, np.where(labels == 2, 2, 0), 1, label_names=NAMES)
    first = [c for c in picture.axes[0].collections if isinstance(c, QuadContourSet)]
    is_dashed = [c.get_linestyles()[0][1] is not None for c in first]
    colours = [tuple(c.get_edgecolor()[0]) for c in first]
    assert is_dashed == [False, False, True]
    assert colours[0] != colours[1] == colours[2]


def test_heading_and_legend_name_case_classes_and_dice() -> None:
    image, labels = volume()
    prediction = np.where(labels == 1, 1, 0)
    said = texts(draw_overlay(image, labels, prediction, 1, label_names=NAMES, title="case_7"))
    for word in ("case_7", "head 1.000", "tail 0.000", "truth", "prediction", "head", "tail"):
        assert word in said
    many = np.arange(20 * 16 * 12).reshape(image.shape) % 9
    assert "mean Dice of 8 structures 1.000" in texts(draw_overlay(image, many, many, 1))
    assert "label 8" in texts(draw_overlay(image, many, many, 1))


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    image, labels = volume()
    path = tmp_path / "a.png"
    draw_overlay(image, labels, labels, 1, path, {1: "$\\broken$", 2: "_x"}, title="$\\frac$")
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("orientation", "letters"), [("RAS", "LRPA LRIS PAIS"), ("LPS", "RLAP RLIS APIS")], ids=str
)
def test_letters_stand_where_the_axes_grow(orientation: str, letters: str) -> None:
    image, labels = volume()
    picture = draw_overlay(image, labels, labels, 1, orientation=orientation)
    found = []
    for ax in picture.axes:
        place = {t.get_position(): t.get_text() for t in ax.texts}
        found.append("".join(place[p] for p in [(0.02, 0.5), (0.98, 0.5), (0.5, 0.02), (0.5, 0.98)]))
    assert " ".join(found) == letters


def test_a_flat_image_keeps_its_first_row_on_top() -> None:
    image = np.zeros((6, 9))
    image[0] = 1
    labels = (image > 0).astype(int)
    picture = draw_overlay(image, labels, labels, (1, 2), orientation="AR")
    (ax,) = picture.axes
    assert ax.get_ylim() == (6, 0)
    assert ax.get_xlim() == (0, 18)
    assert {t.get_text(): t.get_position()[1] for t in ax.texts}["P"] == 0.98


@pytest.mark.parametrize(
    ("shape", "fill"),
    [
        ((6, 7), 7.0),
        ((1, 1, 1), 0.0),
        ((1, 400, 3), np.nan),
        *(
            pytest.param(shape, fill, marks=pytest.mark.slow)
            for shape, fills in (
                ((6, 7), (0.0, np.nan)),
                ((1, 1, 1), (7.0, np.nan)),
                ((1, 400, 3), (0.0, 7.0)),
            )
            for fill in fills
        ),
    ],
)
def test_images_and_labels_with_nothing_to_see_are_drawn(
    shape: tuple[int, ...], fill: float, tmp_path: Path
) -> None:
    image, nothing = np.full(shape, fill), np.zeros(shape, np.uint8)
    draw_overlay(image, nothing, nothing + 1, 1, tmp_path / "picture.png")
    assert imread(tmp_path / "picture.png").shape[2] == 4
    for truth, prediction in ((nothing, nothing), (None, nothing), (None, None)):
        assert "no structure" in texts(draw_overlay(image, truth, prediction, 1))


def test_the_file_is_whole_and_the_folder_made(tmp_path: Path) -> None:
    image, labels = volume()
    picture = draw_overlay(image, labels, labels, 1, tmp_path / "new" / "a.png")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.png"]
    height, width = imread(tmp_path / "new" / "a.png").shape[:2]
    assert (width, height) == tuple(int(150 * inches) for inches in picture.get_size_inches())
    assert imread(io.BytesIO(picture._repr_png_())).shape[2] == 4


def test_outlines_are_visible_on_the_picture(tmp_path: Path) -> None:
    image, labels = volume()
    draw_overlay(image, labels, labels, 1, tmp_path / "a.png")
    pixels = (imread(tmp_path / "a.png")[..., :3] * 255).round().astype(int)
    for label in (1, 2):
        colour = [int(class_colour(label)[i : i + 2], 16) for i in (1, 3, 5)]
        assert (abs(pixels - colour).max(-1) <= 2).sum() > 200


def test_it_touches_no_global_figure_and_works_in_threads() -> None:
    image, labels = volume()
    threads = [threading.Thread(target=draw_overlay, args=(image, labels, labels, 1)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    code = "import sys, medconv.reporting; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_colours_differ_until_they_begin_again() -> None:
    assert len({class_colour(label) for label in range(1, 8)}) == len(CLASS_COLOURS) == 7
    assert class_colour(8) == class_colour(1)


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    image, labels = volume()
    with pytest.raises(
        ShapeError, match=r"expected an image \(\*S\) with 2 or 3 axes, got \(1, 20, 16, 12\)"
    ):
        draw_overlay(image[None], labels, labels, 1)
    with pytest.raises(ShapeError, match="of one shape"):
        draw_overlay(image, labels[1:], labels, 1)
    with pytest.raises(ShapeError, match="take the argmax or a threshold"):
        draw_overlay(image, labels, labels * 0.5, 1)
    with pytest.raises(GeometryError, match="expected spacing_mm with 3 positive numbers"):
        draw_overlay(image, labels, labels, (1, 1))
    for orientation in ("RA", "RAX"):
        with pytest.raises(GeometryError, match="expected an orientation of 3 letters like RAS, got 'RA"):
            draw_overlay(image, labels, labels, 1, orientation=orientation)


def test_planes_go_through_the_largest_error_if_it_is_asked_for() -> None:
    image, labels = volume()
    found = labels.copy()
    found[17:19, 13:15, 9:11] = 1
    pictures = [draw_overlay(image, labels, found, 1, at_disagreement=at) for at in (False, True)]
    shown = [picture.axes[0].images[0].get_array() for picture in pictures]
    assert not np.array_equal(*shown)
    same = [draw_overlay(image, labels, labels, 1, at_disagreement=at) for at in (False, True)]
    np.testing.assert_array_equal(*(picture.axes[0].images[0].get_array() for picture in same))
