"""One mask an object: numbered, whole where two overlap, and the layout of the Data Science Bowl 2018 as a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medconv.errors import BadImageError, DatasetError
from medconv.io import discover, read_image, reader_for


def mask(path: Path, rows: slice, columns: slice) -> None:
    values = np.zeros((20, 30), np.uint8)
    values[rows, columns] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("ab1", "cd2", "ef3")):
        image = np.full((20, 30, 4), 255, np.uint8)
        image[..., :3] = 40 + number
        (tmp_path / f"bowl/{name}/images").mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / f"bowl/{name}/images/{name}.png")
        mask(tmp_path / f"bowl/{name}/masks/b.png", slice(2, 12), slice(2, 12))
        mask(tmp_path / f"bowl/{name}/masks/a.png", slice(10, 14), slice(10, 14))
    return tmp_path / "bowl"


@pytest.mark.filterwarnings("ignore:.*0 and 255")
def test_the_layout_of_the_data_science_bowl_is_a_dataset_of_objects(root: Path) -> None:
    dataset = discover(root)
    assert [case.case_id for case in dataset.cases] == ["ab1", "cd2", "ef3"]
    assert dataset.channel_names == ("red", "green", "blue")
    assert (dataset.instances, dict(dataset.label_names)) == (True, {0: "background", 1: "object"})
    case = dataset.cases[0]
    image = read_image(case.images, channels=3)
    assert case.label is not None
    labels = reader_for(case.label).read_labels(case.label, like=image)
    expected = np.zeros((20, 30), int)
    expected[2:12, 2:12] = 2
    expected[10:14, 10:14] = 1  # the smaller one is whole
    np.testing.assert_array_equal(labels.data[0, ..., 0], expected)
    joined = reader_for(case.label).read_labels(case.label, allowed={0, 1}, like=image)
    np.testing.assert_array_equal(joined.data, labels.data > 0)
    assert reader_for(case.label).read_header(case.label).shape == (20, 30, 1)


def test_folders_that_lack_something_are_told_at_once(root: Path) -> None:
    (root / "cd2/images/cd2.png").unlink()
    for path in (root / "ef3/masks").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"2 problem\(s\)") as caught:
        discover(root)
    assert "cd2: expected one file in images and a folder masks, got 0 file(s)" in str(caught.value)
    assert "case ef3: no such file: " in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*0 and 255")
def test_masks_that_cannot_be_used_are_refused(root: Path) -> None:
    pattern = root / "ab1/masks/*.png"
    mask(root / "ab1/masks/c.png", slice(0, 0), slice(0, 0))
    with pytest.raises(BadImageError, match=r"expected an object in every mask, .*c.png is empty; remove it"):
        reader_for(pattern).read_labels(pattern)
    with pytest.raises(
        BadImageError, match="expected one image, got a pattern, which is for masks of single"
    ):
        reader_for(pattern).read_volume(pattern)
    nothing = root / "nowhere/*.png"
    with pytest.raises(BadImageError, match="expected a mask an object, found none"):
        reader_for(nothing).read_labels(nothing)
