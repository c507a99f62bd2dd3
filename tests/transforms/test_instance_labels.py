import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from object_scenes import ellipsoids
from scipy import ndimage

from medconv.planning import InstanceTarget
from medconv.transforms import instance_labels

TARGETS = [InstanceTarget(), InstanceTarget(levels=9), InstanceTarget("boundary")]


def inner(labels, target):
    return labels == 1 if target.kind == "boundary" else labels >= 2


@pytest.mark.parametrize("target", TARGETS, ids=str)
@given(seed=st.integers(0, 10_000), dims=st.integers(2, 3))
@settings(max_examples=25)
def test_inner_labels_are_one_component_an_object(target, seed, dims):
    rng = np.random.default_rng(seed)
    shape = (48, 40) if dims == 2 else (10, 20, 20)
    objects = ellipsoids(rng, shape, 14, (3, 9))
    spacing = rng.uniform(0.3, 3.0, dims)
    labels = instance_labels(objects, target, spacing)
    assert ((labels > 0) == (objects > 0)).all()
    for level in range(2, (target.levels or 1) + 1) if target.kind == "distance" else (1,):
        mask = labels >= level if target.kind == "distance" else labels == 1
        components, count = ndimage.label(mask)
        owners = [np.unique(objects[components == n]) for n in range(1, count + 1)]
        assert all(len(owner) == 1 for owner in owners), "two objects share an inner component"
        assert len({int(owner[0]) for owner in owners}) == count, "an object has two inner components"


def test_shells_are_cut_at_equal_shares_of_the_largest_distance():
    rows = np.arange(-30, 31)
    disc = (rows[:, None] ** 2 + rows**2 <= 25**2).astype(np.uint16) * 7
    labels = instance_labels(disc, InstanceTarget(levels=5), (1.0, 1.0))
    profile = labels[30, 30:56]
    distance = ndimage.distance_transform_edt(disc)[30, 30:56]
    assert (profile == np.ceil(distance / distance[0] * 5 - 1e-9)).all()
    assert set(profile) == {1, 2, 3, 4, 5}


def test_labels_stay_the_same_when_everything_is_scaled():
    objects = np.zeros((40, 40), int)
    objects[5:15, 5:25] = 1
    objects[15:35, 10:30] = 2
    small = instance_labels(objects, InstanceTarget(levels=4), (1.0, 1.0))
    assert (small == instance_labels(objects, InstanceTarget(levels=4), (2.5, 2.5))).all()


def test_distances_are_measured_in_the_voxel_size():
    # thin slices: what is one voxel away along the first axis is nearer than one along the second
    objects = np.ones((21, 21), int)
    objects[0] = objects[-1] = objects[:, 0] = objects[:, -1] = 0
    labels = instance_labels(objects, InstanceTarget(levels=2), (1.0, 4.0))
    assert labels[10].tolist() == [0, 1, *[2] * 17, 1, 0]
    assert labels[:, 10].tolist() == [0, *[1] * 5, *[2] * 9, *[1] * 5, 0]


def test_width_of_a_rim_is_in_edges_of_the_finest_voxel():
    objects = np.pad(np.ones((11, 11), int), 2)
    labels = instance_labels(objects, InstanceTarget("boundary", width_vox=3), (2.0, 1.0))
    assert labels[2:13, 7].tolist() == [2, *[1] * 9, 2]
    assert labels[7, 2:13].tolist() == [2, 2, 2, *[1] * 5, 2, 2, 2]


def test_an_object_as_thin_as_its_rim_keeps_an_inside():
    objects = np.zeros((9, 9), int)
    objects[4, 2:7] = 5
    assert (instance_labels(objects, InstanceTarget("boundary"), (1, 1)) == 1).sum() >= 1
    assert instance_labels(objects, InstanceTarget(levels=3), (1, 1)).max() == 3


def test_the_edge_of_the_image_is_no_rim():
    whole = np.zeros((41, 41), int)
    whole[10:31, 10:31] = 1
    full = instance_labels(whole, InstanceTarget(), (1, 1))
    cut = instance_labels(whole[:21], InstanceTarget(), (1, 1))
    assert (full[:21] == cut).all()
    assert (instance_labels(np.full((6, 6), 3), InstanceTarget(), (1, 1)) == 5).all()


def test_numbers_may_have_gaps_and_be_large():
    objects = np.zeros((12, 12), np.uint32)
    objects[1:5, 1:5], objects[5:9, 1:5] = 4_000_000_000, 70_000
    few = np.zeros((12, 12), np.uint8)
    few[1:5, 1:5], few[5:9, 1:5] = 9, 2
    assert (
        instance_labels(objects, InstanceTarget(), (1, 1)) == instance_labels(few, InstanceTarget(), (1, 1))
    ).all()
    full = np.full((4, 4), 4_000_000_000, np.uint32)
    assert instance_labels(full, InstanceTarget(), (1, 1)).all()


def test_islands_of_an_inner_shell_belong_to_the_shell_around_them():
    dumbbell = np.zeros((15, 40), int)
    dumbbell[1:14, 1:14] = dumbbell[3:12, 24:33] = 1
    dumbbell[7, 13:25] = 1
    labels = instance_labels(dumbbell, InstanceTarget(levels=4), (1, 1))
    assert labels[7, 7] == 4
    assert labels[7, 28] == 1  # the neck is of shell 1, so is what lies behind it


def test_nothing_and_empty_maps():
    assert not instance_labels(np.zeros((5, 5), np.uint8), InstanceTarget(), (1, 1)).any()
