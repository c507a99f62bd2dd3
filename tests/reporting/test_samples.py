from __future__ import annotations

import numpy as np
import pytest

from medconv.errors import ShapeError
from medconv.reporting import SampleRow, draw_samples


@pytest.mark.parametrize("patch", [(8, 6), (8, 6, 5)], ids=["2-D", "3-D"])
def test_one_panel_a_variant_with_its_words_and_the_grey_window_of_the_first(patch, rng, tmp_path):
    images = rng.normal(size=(3, *patch))
    images[1] += 50
    labels = np.zeros((3, *patch), int)
    labels[:, 2:5, 2:4] = 1
    rows = [SampleRow(name, images, labels, ["as cut", "brightness", "noise"]) for name in ("a $1", "b")]
    picture = draw_samples(rows, (1.0,) * len(patch), path=tmp_path / "s.png", label_names={1: "organ"})
    assert len(picture.axes) == 6
    assert [ax.get_title() for ax in picture.axes[:3]] == ["a $1\nas cut", "brightness", "noise"]
    windows = {ax.images[0].get_clim() for ax in picture.axes[:3]}
    assert len(windows) == 1
    assert [t.get_text() for t in picture.legends[0].get_texts()] == ["organ"]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_different_lengths_are_refused():
    patch = np.zeros((2, 4, 4))
    rows = [SampleRow("a", patch, patch, ["", ""]), SampleRow("b", patch[:1], patch[:1], [""])]
    with pytest.raises(ShapeError, match=r"all of one length, got lengths \[1, 2\]"):
        draw_samples(rows, (1.0, 1.0))
