from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from matplotlib.axes import Axes

from medconv.inference import Prediction
from medconv.inference.companions import Place
from medconv.io import volume_from_array
from medconv.reporting import Picture, preview
from medconv.reporting.preview import Preview, draw_prediction


def prediction(affine: np.ndarray, values: np.ndarray, names: dict[int, str]) -> Prediction:
    volume = volume_from_array(np.arange(values.size, dtype=float).reshape(values.shape), affine=affine)
    return Prediction(values.astype(np.uint8), volume, names, {})


def texts(picture: Picture) -> list[str]:
    return [text.get_text() for text in picture.texts]


def outlines(axes: Axes) -> list[np.ndarray]:
    return [path.vertices for collection in axes.collections for path in collection.get_paths()]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)])
def test_a_patient_is_drawn_upright_however_the_axes_are_stored(signs: tuple[int, ...]) -> None:
    values = np.zeros((8, 10, 6))
    values[1:3, 2:4, 1:3] = 1
    stored = values[tuple(slice(None, None, sign) for sign in signs)]
    picture = draw_prediction(
        prediction(np.diag([*signs, 1.0]), stored, {0: "background", 1: "x"}), title="c"
    )
    expected = draw_prediction(prediction(np.eye(4), values, {0: "background", 1: "x"}), title="c")
    letters = [[text.get_text() for text in axes.texts] for axes in picture.axes]
    assert letters == [[text.get_text() for text in axes.texts] for axes in expected.axes]
    for axes, other in zip(picture.axes, expected.axes, strict=True):
        for line, twin in zip(outlines(axes), outlines(other), strict=True):
            np.testing.assert_allclose(line, twin)


def test_the_heading_says_volumes_or_that_there_is_nothing() -> None:
    values = np.zeros((4, 4, 4))
    values[0, 0, 0], values[1:3, 1:3, 1:3] = 1, 2
    names = {0: "background", 1: "a", 2: "$b$", 3: "c"}
    assert texts(draw_prediction(prediction(np.diag([10.0, 10, 10, 1]), values, names), title="case 1")) == [
        "case 1",
        "a 1 ml   $b$ 8 ml",
    ]
    assert texts(draw_prediction(prediction(np.eye(4), values * 0, names)))[1] == "no structure found"
    many = {n: f"s{n}" for n in range(8)}
    filled = np.arange(64).reshape(4, 4, 4) % 8
    assert texts(draw_prediction(prediction(np.eye(4), filled, many)))[1] == "7 structures"


def test_the_picture_of_a_slice_lies_beside_its_mask(tmp_path: Path) -> None:
    volume = volume_from_array(np.random.default_rng(0).random((12, 9)), (1.0, 2.0))
    labels = np.zeros((12, 9), np.uint8)
    labels[3:6, 3:6] = 1
    companion = Preview(Place(is_alone=True))
    companion.write(Prediction(labels, volume, {0: "background", 1: "cell"}, {}), tmp_path / "m.nii.gz")
    (path,) = companion.files(tmp_path / "m.nii.gz")
    assert path == tmp_path / "m_preview.png"
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("has_objects", [True, False])
def test_pictures_of_masks_that_are_written_together_are_those_of_each_alone(
    tmp_path: Path, has_objects: bool
) -> None:
    rng = np.random.default_rng(0)
    volume = volume_from_array(rng.random((24, 20)), (1.0, 2.0))
    names = {0: "background", 1: "a", 2: "b"}
    predictions = [
        Prediction(rng.integers(0, 3, (24, 20)).astype(np.uint8), volume, names, {}, has_objects=has_objects)
        for _ in range(4)
    ]
    companion, begin = Preview(Place(is_alone=False)), Barrier(4)

    def write(number: int, folder: Path) -> bytes:
        if folder.name == "together":
            begin.wait(10)
        mask = folder / f"{number}.nii.gz"
        companion.write(predictions[number], mask)
        return companion.files(mask)[0].read_bytes()

    alone = [write(number, tmp_path / "alone") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(write, range(4), [tmp_path / "together"] * 4))
    assert together == alone
    assert len(set(alone)) == 4


def test_pictures_of_objects_do_not_wait_for_each_other(tmp_path: Path) -> None:
    volume = volume_from_array(np.random.default_rng(0).random((12, 9)), (1.0, 2.0))
    made = Prediction(np.eye(12, 9, dtype=np.uint8), volume, {0: "background", 1: "x"}, {}, has_objects=True)
    with ThreadPoolExecutor(1) as pool, preview._DRAWING:
        pool.submit(Preview(Place(is_alone=True)).write, made, tmp_path / "m.tif").result(10)
