"""The picture of a run that tells objects apart: what was found, in words and colours."""

from __future__ import annotations

import numpy as np
import pytest

from medconv.errors import ShapeError
from medconv.reporting import draw_object_overlay
from medconv.reporting.object_overlay import _laid_under

TRUTH = np.kron(np.array([[1, 0, 2], [0, 0, 0], [3, 0, 4]]), np.ones((8, 8), int))
PRED = np.where(TRUTH == 2, 0, TRUTH) + 9 * np.kron(
    np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), np.ones((8, 8), int)
)


def heading(picture) -> str:
    return picture.texts[1].get_text()


def test_found_missed_and_invented_objects_are_counted_and_named(tmp_path):
    picture = draw_object_overlay(TRUTH * 1.0, TRUTH, PRED, path=tmp_path / "a.png", title="a $b$")
    assert picture.texts[0].get_text() == "a $b$"
    assert heading(picture) == "4 objects: 3 found, 1 missed, 1 invented at IoU 0.5"
    (legend,) = picture.legends
    assert [text.get_text() for text in legend.get_texts()] == ["found", "missed", "prediction", "invented"]
    assert (tmp_path / "a.png").read_bytes()[1:4] == b"PNG"


def test_a_stack_shows_one_slice_and_counts_all():
    truth = np.stack([TRUTH, TRUTH * 0, TRUTH * 0], axis=-1)
    picture = draw_object_overlay(truth * 1.0, truth, truth * 0)
    assert heading(picture) == "4 objects: 0 found, 4 missed, 0 invented at IoU 0.5"


@pytest.mark.parametrize("shape", [(24, 24), (48, 72), (7, 5), (24, 24, 1)])
def test_an_image_of_another_grid_is_laid_under_the_objects(shape):
    ramp = np.linspace(0, 1, shape[0])[:, None] * np.ones(shape[1])
    laid = _laid_under(ramp.reshape(shape), (24, 24, 1) if len(shape) == 3 else (24, 24))
    assert laid.shape[:2] == (24, 24)
    np.testing.assert_allclose(
        laid.reshape(24, 24)[:, 3], np.linspace(0, 1, 24), atol=1.0 / min(shape[0], 24)
    )


def test_nothing_to_see_is_no_error():
    assert heading(draw_object_overlay(TRUTH * 0.0, TRUTH * 0, TRUTH * 0)).startswith("0 objects: 0 found")


def test_maps_of_two_sizes_are_refused():
    with pytest.raises(ShapeError, match="one shape"):
        draw_object_overlay(TRUTH * 1.0, TRUTH, TRUTH[:5])
