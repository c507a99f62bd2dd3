"""Patches: in bounds, fair, padded, and a function of the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medconv.errors import ShapeError
from medconv.transforms.crop import cut, draw_start, find_locations


def draw_patch(image, label, patch, rng, locations=None):
    start = draw_start(image.shape[1:], patch, rng, locations)
    return cut(image, start, patch), cut(label, start, patch)


def volume(shape=(20, 24, 16), channels=2, seed=0):
    rng = np.random.default_rng(seed)
    label = np.zeros((1, *shape), np.uint8)
    label[0, 2, 3, 4] = 2
    label[0, -6:, -6:, -6:] = 1
    return rng.normal(size=(channels, *shape)).astype(np.float32), label


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(-12, 12)), min_size=2, max_size=3)
)
def test_cut_is_pad_then_slice(axes):
    shape, patch, start = zip(*axes, strict=True)
    array = np.arange(1, 1 + np.prod(shape)).reshape(1, *shape)
    padded = np.pad(array, [(0, 0)] + [(30, 30)] * len(shape))
    window = (slice(None), *(slice(s + 30, s + 30 + p) for s, p in zip(start, patch, strict=True)))
    np.testing.assert_array_equal(cut(array, start, patch), padded[window])


def test_patches_are_cut_from_image_and_label_at_one_place():
    _, label = volume()
    coded = np.arange(label.size).reshape(label.shape)
    coded_image = np.concatenate([coded, coded]).astype(np.float64)
    patch, patch_label = draw_patch(coded_image, coded, (8, 8, 8), np.random.default_rng(1))
    np.testing.assert_array_equal(patch[1], patch_label[0])
    assert patch.flags["C_CONTIGUOUS"]
    assert patch_label.flags["C_CONTIGUOUS"]


def test_the_same_generator_state_gives_the_same_patch():
    image, label = volume()
    first, second = (draw_patch(image, label, (8, 8, 8), np.random.default_rng(5))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_every_position_comes_up_and_none_outside():
    array = np.arange(6)[None]
    seen = {int(draw_patch(array, array, (4,), np.random.default_rng(i))[0][0, 0]) for i in range(100)}
    assert seen == {0, 1, 2}


def test_a_small_volume_lies_whole_and_anywhere_in_its_patch():
    array = np.array([[7, 8]])
    seen = {tuple(draw_patch(array, array, (4,), np.random.default_rng(i))[0][0]) for i in range(100)}
    assert seen == {(7, 8, 0, 0), (0, 7, 8, 0), (0, 0, 7, 8)}


def test_every_class_has_the_same_chance_however_small():
    image, label = volume()
    locations = find_locations(label, num_classes=3)
    hits = [
        2 in draw_patch(image, label, (6, 6, 6), np.random.default_rng(i), locations)[1] for i in range(400)
    ]
    assert np.mean(hits) == pytest.approx(0.5, abs=0.08)  # 1 of 217 foreground voxels, half of the patches


@pytest.mark.parametrize("patch", [(6, 6, 6), (5, 24, 30), (40, 40, 40)])
def test_a_foreground_patch_always_holds_foreground(patch):
    image, label = volume()
    locations = find_locations(label, num_classes=3)
    for i in range(50):
        assert draw_patch(image, label, patch, np.random.default_rng(i), locations)[1].any()


def test_the_chosen_voxel_is_in_the_middle_where_the_edges_allow():
    label = np.zeros((1, 30, 30), np.uint8)
    label[0, 14, 17] = 1
    _, patch = draw_patch(label, label, (8, 8), np.random.default_rng(0), find_locations(label, 2))
    assert np.argwhere(patch[0]).tolist() == [[4, 4]]


def test_no_foreground_falls_back_to_anywhere():
    image, label = volume()
    empty = find_locations(np.zeros_like(label), num_classes=3)
    assert empty == {}
    anywhere = draw_patch(image, label, (8, 8, 8), np.random.default_rng(3))
    np.testing.assert_array_equal(
        draw_patch(image, label, (8, 8, 8), np.random.default_rng(3), empty)[0], anywhere[0]
    )


def test_locations_point_at_their_class_and_are_bounded():
    label = np.random.default_rng(0).integers(0, 4, (1, 30, 20, 10))
    locations = find_locations(label, num_classes=4, max_per_class=100)
    assert sorted(locations) == [1, 2, 3]
    for value, voxels in locations.items():
        assert voxels.shape == (100, 3)
        assert len(np.unique(voxels, axis=0)) == 100
        assert (label[0][tuple(voxels.T)] == value).all()
    np.testing.assert_array_equal(locations[2], find_locations(label, 4, 100)[2])


def test_axes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match=r"expected a patch of 3 axes, as the volume's; got \(8, 8\)"):
        draw_start((20, 24, 16), (8, 8), np.random.default_rng(0))
