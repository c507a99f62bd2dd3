import numpy as np
import pytest
import scipy.ndimage
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from medconv.transforms import resample as resample_module
from medconv.transforms.resample import axis_weights, resample, resample_labels, resample_slabs

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


def centres(size, new_size):
    """Where the new voxel centres lie on the old grid, in voxels."""
    return (torch.arange(new_size, dtype=torch.float64) + 0.5) * (size / new_size) - 0.5


@settings(max_examples=40)
@given(SIZES)
def test_weights_are_shares_that_sum_to_one(sizes):
    weights = axis_weights(*sizes)
    assert weights.shape == sizes[::-1]
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(sizes[1], dtype=torch.float64))


@settings(max_examples=40)
@given(SIZES)
def test_linear_ramp_stays_exactly_linear(sizes):
    size, new_size = sizes
    ramp = 3.0 * torch.arange(size, dtype=torch.float64) - 7
    expected = 3.0 * centres(size, new_size).clamp(0, size - 1) - 7
    torch.testing.assert_close(axis_weights(size, new_size) @ ramp, expected, rtol=0, atol=1e-9)


@settings(max_examples=40)
@given(SIZES)
def test_coarser_grids_never_reach_beyond_the_border(sizes):
    size, new_size = max(sizes), min(sizes)
    assert centres(size, new_size).min() >= -1e-12
    assert centres(size, new_size).max() <= size - 1 + 1e-12


def test_same_size_is_the_identity():
    for size in (1, 2, 17):
        assert torch.equal(axis_weights(size, size), torch.eye(size, dtype=torch.float64))


def test_halving_averages_pairs_and_thirds_weigh_the_centre():
    assert axis_weights(4, 2).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]
    assert axis_weights(3, 1).tolist() == [[0.25, 0.5, 0.25]]


@pytest.mark.parametrize(("size", "new_size"), [(7, 3), (20, 13), (9, 8), (31, 30)])
def test_coarser_grids_average_the_linear_interpolant(size, new_size, rng):
    values = rng.random(size)
    fine = np.arange(-0.5, size - 0.5, 1e-3)
    interpolant = np.interp(fine, np.arange(size), values)
    width = size / new_size - 1
    expected = [interpolant[np.abs(fine - c) <= width / 2].mean() for c in centres(size, new_size).numpy()]
    np.testing.assert_allclose(axis_weights(size, new_size).numpy() @ values, expected, atol=5e-3)


def test_finer_grids_are_linear_interpolation_in_pytorch_too(rng):
    x = torch.from_numpy(rng.random((2, 5, 6, 7)).astype(np.float32))
    expected = F.interpolate(x[None], (9, 6, 20), mode="trilinear", align_corners=False)[0]
    torch.testing.assert_close(resample(x, (9, 6, 20)), expected, rtol=0, atol=1e-5)


def test_finer_grids_are_linear_interpolation_in_scipy_too(rng):
    x = rng.random((5, 6, 7))
    shape = (11, 13, 9)
    grid = np.meshgrid(*[centres(a, b).numpy() for a, b in zip(x.shape, shape, strict=True)], indexing="ij")
    expected = scipy.ndimage.map_coordinates(x, grid, order=1, mode="nearest")
    np.testing.assert_allclose(resample(torch.from_numpy(x)[None], shape)[0], expected, atol=1e-5)


def test_stripes_finer_than_the_new_grid_fade_and_do_not_alias():
    stripes = torch.tensor([0.0, 1.0]).repeat(60)[None, :, None, None]
    coarse = resample(stripes, (41, 1, 1))
    assert (coarse - 0.5).abs().max() < 0.2
    # without the averaging the same stripes come out as a slow, strong wave
    aliased = F.interpolate(stripes[..., 0, 0][None], 41, mode="linear")
    assert (aliased - 0.5).abs().max() > 0.4


@settings(max_examples=40)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(1, 9)] * 3), st.integers(1, 400))
def test_slabs_put_together_are_the_whole(shape, new_shape, room):
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    parts, place_before = [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample_module, "SLAB_ELEMENTS", room)
        for place, slab in resample_slabs(x, new_shape):
            assert place.start == place_before
            assert slab.shape[1] == place.stop - place.start
            place_before = place.stop
            parts.append(slab)
    torch.testing.assert_close(torch.cat(parts, 1), resample(x, new_shape), rtol=0, atol=1e-5)


def test_slabs_are_as_small_as_the_room(rng):
    x = torch.zeros(3, 10, 20, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resample_module, "SLAB_ELEMENTS", 3 * 40 * 40 * 4)
        sizes = [slab.numel() for _, slab in resample_slabs(x, (40, 40, 40))]
    assert max(sizes) == 3 * 40 * 40 * 4
    assert len(sizes) == 10


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_result_is_float32_whatever_comes(dtype):
    x = torch.full((1, 4, 4, 4), 0.5, dtype=dtype)
    assert resample(x, (4, 4, 4)).dtype == torch.float32
    for shape in [(4, 4, 4), (6, 4, 3)]:
        assert all(slab.dtype == torch.float32 for _, slab in resample_slabs(x, shape))


def test_mixed_precision_around_it_costs_no_digits(rng):
    x = torch.from_numpy(rng.random((2, 6, 7, 8)).astype(np.float32))
    expected = resample(x, (9, 5, 11))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample(x, (9, 5, 11)), expected)
        slabs = [slab for _, slab in resample_slabs(x.bfloat16(), (9, 5, 11))]
    assert all(slab.dtype == torch.float32 for slab in slabs)


@settings(max_examples=40)
@given(
    st.tuples(*[st.integers(1, 8)] * 3),
    st.tuples(*[st.integers(1, 8)] * 3),
    st.sampled_from([torch.uint8, torch.int16]),
    st.integers(0, 100),
)
def test_labels_never_get_new_values(shape, new_shape, dtype, seed):
    choices = torch.tensor([0, 3, 7, 200])
    drawn = torch.randint(4, (1, *shape), generator=torch.Generator().manual_seed(seed))
    labels = choices[drawn].to(dtype)
    resampled = resample_labels(labels, new_shape)
    assert resampled.dtype == dtype
    assert resampled.shape == (1, *new_shape)
    assert set(resampled.unique().tolist()) <= set(labels.unique().tolist())


def test_each_voxel_takes_the_label_that_fills_most_of_it():
    labels = torch.tensor([5, 5, 5, 9, 9, 9], dtype=torch.uint8).reshape(1, 6, 1, 1)
    assert resample_labels(labels, (2, 1, 1)).flatten().tolist() == [5, 9]
    assert resample_labels(labels, (18, 1, 1)).flatten().tolist() == [5] * 9 + [9] * 9
    # on a tie, the label at the centre
    for tie in ([9, 5], [5, 9]):
        assert resample_labels(torch.tensor(tie).reshape(1, 2, 1, 1), (1, 1, 1)).item() == tie[1]


def test_labels_resampled_finer_and_back_are_the_same(rng):
    labels = torch.from_numpy(rng.integers(0, 4, (1, 5, 6, 7)).astype(np.uint8))
    finer = resample_labels(labels, (15, 18, 21))
    assert torch.equal(finer[:, 1::3, 1::3, 1::3], labels)
    assert torch.equal(resample_labels(labels, (5, 6, 7)), labels)


def test_volume_of_a_ball_survives_resampling():
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 3, indexing="ij"))
    ball = (grid.square().sum(0) < 0.5).to(torch.uint8)[None]
    share = ball.float().mean()
    for shape in [(24, 24, 24), (31, 48, 20), (64, 64, 64)]:
        resampled = resample_labels(ball, shape).float().mean()
        assert float(resampled) == pytest.approx(float(share), rel=0.02)
