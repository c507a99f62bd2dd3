import os
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from object_scenes import ellipsoids, is_renumbered
from scipy import ndimage
from skimage.segmentation import watershed

from medconv.errors import ConfigError, ShapeError
from medconv.inference import Separation, separate
from medconv.inference.separation import separation_bytes
from medconv.io import reader_for
from medconv.metrics import instance_overlap
from medconv.planning import InstanceTarget
from medconv.transforms import instance_labels

REAL = os.environ.get("MEDCONV_REAL_DATA")


def perfect_fields(objects, target=None, spacing=None):
    """What a network that makes no mistake says about objects."""
    target = target or InstanceTarget()
    labels = instance_labels(objects, target, spacing or (1.0,) * objects.ndim)
    if target.kind == "boundary":
        return np.stack([labels > 0, labels == 1]).astype(np.float16)
    return np.stack([labels > 0, labels / target.levels]).astype(np.float16)


def noise_fields(rng, shape, sigma, steps):
    """Smooth noise with many equal values."""
    height = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    height = (height - height.min()) / np.ptp(height)
    height = np.round(height * steps) / steps
    foreground = np.clip(height + rng.uniform(-0.2, 0.2), 0, 1)
    return np.stack([foreground, height]).astype(np.float16)


@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(0.6, 4),
    steps=st.sampled_from([4, 10, 100, 10_000]),
    rows=st.integers(1, 9),
    halo=st.integers(1, 5),
    dims=st.integers(2, 3),
)
@settings(max_examples=40)
def test_strips_give_what_the_whole_map_gives(seed, sigma, steps, rows, halo, dims):
    rng = np.random.default_rng(seed)
    shape = (
        int(rng.integers(2, 50)),
        int(rng.integers(2, 24)),
        *((int(rng.integers(1, 6)),) if dims == 3 else ()),
    )
    fields = noise_fields(rng, shape, sigma, steps)
    choice = Separation(float(rng.uniform(0.2, 0.7)), float(rng.uniform(0.3, 0.9)), int(rng.integers(1, 6)))
    whole = separate(fields, choice)
    in_strips = separate(fields, choice, strip_voxels=rows * int(np.prod(shape[1:])), halo=halo)
    assert np.array_equal(whole, in_strips)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_whole_map_is_a_watershed_of_components(seed):
    rng = np.random.default_rng(seed)
    fields = noise_fields(rng, (40, 30), 1.5, 50) + rng.uniform(0, 1e-3, (2, 40, 30))  # no two are equal
    mask = fields[0] > 0.4
    seeds, _ = ndimage.label(mask & (fields[1] > 0.6))
    expected = watershed(-fields[1].astype(float), seeds, connectivity=2, mask=mask)
    assert is_renumbered(separate(fields, Separation(0.4, 0.6)), expected)


@pytest.mark.parametrize(
    "target", [InstanceTarget(), InstanceTarget(levels=8), InstanceTarget("boundary")], ids=str
)
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scenes", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_objects_that_touch_or_leave_the_image_are_found_again(target, dims, scenes):
    shape, radii, count = ((96, 96), (5, 14), 25) if dims == 2 else ((14, 40, 40), (4, 9), 20)
    for seed in range(scenes):
        objects = ellipsoids(np.random.default_rng(seed), shape, count, radii)
        spacing = (1.0, 1.0) if dims == 2 else (2.0, 1.0, 1.0)
        found = separate(perfect_fields(objects, target, spacing))
        overlap = instance_overlap(found, objects)
        assert len(overlap.pred_sizes) == len(overlap.ref_sizes) == overlap.scores(0.5).tp
        assert np.array_equal(found > 0, objects > 0)


def plainly_flooded(fields, choice):
    """The same by the book: the whole map, every voxel of it, every seed voxel in an order of its own."""
    mask = fields[0] > choice.mask_threshold
    seeds = mask & (fields[1] > choice.seed_threshold)
    markers, count = ndimage.label(seeds)
    depth = -fields[1].astype(float)
    order = np.lexsort([np.arange(int(seeds.sum())), depth[seeds]])
    depth[seeds] = np.argsort(order) / depth.size - 3
    objects = watershed(depth, markers, connectivity=depth.ndim, mask=mask)
    kept = np.bincount(objects.ravel(), minlength=count + 1) >= choice.min_voxels
    kept[0] = False
    return (np.cumsum(kept) * kept)[objects]


@given(
    seed=st.integers(0, 10**6),
    sigma=st.floats(0.4, 4),
    steps=st.sampled_from([4, 10, 100, 10_000]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    dims=st.integers(1, 3),
    odd=st.sampled_from([None, np.nan, -np.nan, -0.0, -0.5, np.inf]),
)
@settings(max_examples=60)
def test_what_is_left_out_for_speed_changes_nothing(seed, sigma, steps, dtype, dims, odd):
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, (400, 50, 14)[dims - 1], dims))
    fields = noise_fields(rng, shape, sigma, steps).astype(dtype)
    fields += rng.normal(0, 1e-3, fields.shape).astype(dtype) * (seed % 2)
    if odd is not None:
        fields[0][rng.random(shape) < 0.1] = odd
    choice = Separation(float(rng.uniform(0.01, 0.9)), float(rng.uniform(0.01, 0.9)), int(rng.integers(1, 6)))
    assert np.array_equal(separate(fields, choice), plainly_flooded(fields, choice))
    fields.flags.writeable = False
    mirrored = fields[:, ::-1]
    assert np.array_equal(separate(mirrored, choice), plainly_flooded(mirrored, choice))


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.1, 1e-9, 1 - 1e-9])
def test_float16_is_compared_as_numpy_does(threshold):
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    with np.errstate(invalid="ignore"):
        expected = every > threshold
    found = separate(np.stack([every, np.ones_like(every)]), Separation(threshold, 0.5))
    assert np.array_equal(found > 0, expected)


def test_several_threads_give_what_one_gives():
    rng = np.random.default_rng(0)
    maps = [noise_fields(rng, (120, 90), 2, 100) for _ in range(12)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(separate, maps))
    assert all(np.array_equal(one, separate(fields)) for one, fields in zip(together, maps, strict=True))


def test_a_line_is_cut_into_strips_too():
    fields = np.array([[1.0] * 9, [0.1, 0.9, 0.5, 0.3, 0.4, 0.8, 0.3, 0.2, 0.1]])
    assert separate(fields, strip_voxels=2, halo=1).tolist() == separate(fields).tolist() == [1] * 4 + [2] * 5


def four_discs():
    """Each touches two others."""
    rows = np.arange(40)[:, None], np.arange(40)
    objects = np.zeros((40, 40), int)
    for number, centre in enumerate([(10, 10), (10, 27), (27, 10), (27, 27)], start=1):
        disc = (rows[0] - centre[0]) ** 2 + (rows[1] - centre[1]) ** 2 <= 8.4**2
        objects[disc] = number
    return objects


def test_discs_that_touch_come_back_to_the_voxel():
    objects = four_discs()
    assert is_renumbered(separate(perfect_fields(objects)), objects)


def test_an_object_larger_than_any_halo_is_one():
    fields = np.zeros((2, 100, 8))
    fields[0], fields[1] = 1, 0.3
    fields[1, 0, 0] = 0.9
    found = separate(fields, strip_voxels=8, halo=1)
    assert (found == 1).all()


def test_parts_without_a_seed_are_background():
    fields = np.zeros((2, 9, 9))
    fields[0, 1:3, 1:3], fields[0, 5:8, 5:8] = 1, 1
    fields[1, 6, 6] = 0.9
    assert separate(fields).sum() == 9


def test_seeds_that_meet_at_a_corner_are_two():
    fields = np.zeros((2, 4, 4))
    fields[:, :2, :2] = fields[:, 2:, 2:] = 1
    assert separate(fields).max() == 2


def test_small_objects_are_left_out_and_numbers_closed():
    fields = np.zeros((2, 5, 20))
    fields[:, 1:4, 1:4], fields[:, 2, 7], fields[:, 1:4, 10:15] = 1, 1, 1
    assert separate(fields).max() == 3
    found = separate(fields, Separation(min_voxels=9))
    assert sorted(np.unique(found)) == [0, 1, 2]
    assert (found[2, 12], found[2, 7]) == (2, 0)


@pytest.mark.parametrize(
    ("side", "dtype"), [(4, np.uint8), (40, np.uint16), (600, np.uint32)], ids=["4", "400", "90000"]
)
def test_numbers_are_stored_in_the_smallest_type(side, dtype):
    fields = np.zeros((2, side, side), np.float16)
    fields[:, ::2, ::2] = 1
    found = separate(fields)
    assert (found.dtype, int(found.max())) == (dtype, (side // 2) ** 2)


def test_a_slice_with_a_third_axis_is_separated_as_a_picture():
    fields = perfect_fields(ellipsoids(np.random.default_rng(1), (30, 30), 5, (4, 8)))
    assert np.array_equal(separate(fields[..., None])[..., 0], separate(fields))
    assert separate(np.ones((2, 1, 1))).tolist() == [[1]]
    assert separate(np.zeros((2, 3, 4))).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"mask_threshold": 0}, "instances.mask_threshold: expected a number between 0 and 1, got 0"),
        ({"seed_threshold": True}, "instances.seed_threshold: expected a number between 0 and 1, got True"),
        ({"min_voxels": 0}, "instances.min_voxels: expected a whole number from 1, got 0"),
        ({"min_voxel": 3}, "instances: no 'min_voxel'; did you mean 'min_voxels'?. All: mask_threshold,"),
    ],
)
def test_bad_thresholds_are_refused(values, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        Separation.from_dict(values)


def test_other_than_two_fields_are_refused():
    with pytest.raises(
        ShapeError, match=r"expected two fields \(2, \*S\), foreground and height, got \(3, 4, 4\)"
    ):
        separate(np.zeros((3, 4, 4)))


def test_memory_is_a_few_bytes_a_voxel():
    assert 8 <= separation_bytes((20_000, 20_000)) / 4e8 <= 11


@pytest.mark.parametrize("rows", [None, 16], ids=["whole", "strips"])
def test_no_more_memory_is_taken_than_was_said(rows):
    fields = np.tile(perfect_fields(four_discs()), (1, 25, 20))
    shape = fields.shape[1:]
    options = {} if rows is None else {"strip_voxels": rows * shape[1]}
    separate(fields[:, :40])  # loads what is loaded once
    tracemalloc.start()
    try:
        separate(fields, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    said = separation_bytes(shape) if rows is None else np.prod(shape) * 8 + 64 * 100 * shape[1]
    assert peak <= said


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="MEDCONV_REAL_DATA is not set")
@pytest.mark.parametrize("target", [InstanceTarget(), InstanceTarget("boundary")], ids=str)
def test_what_a_target_keeps_of_real_nuclei(target):
    found = drawn = halves = 0
    for path in sorted((Path(str(REAL)) / "nuclei" / "labels").glob("*.png")):
        objects = reader_for(path).read_labels(path).data[0, ..., 0]
        overlap = instance_overlap(separate(perfect_fields(objects, target)), objects)
        half = overlap.scores(0.5)
        found, drawn, halves = (
            found + len(overlap.pred_sizes),
            drawn + len(overlap.ref_sizes),
            halves + half.tp,
        )
    assert halves / (found + drawn - halves) >= 0.99
