import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.transforms import ScaleIntensityRangePercentiles

from medconv.planning import NORMALIZATIONS, Intensity
from medconv.transforms.normalize import normalize
from medconv.transforms.normalize_tensor import normalize_tensor

CT = Intensity(low=-100.0, high=300.0, mean=50.0, std=40.0)


def one(data, kind, intensity=None):
    return normalize(np.asarray(data, np.float32)[None], (kind,), (intensity,))[0]


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, 0), (1.5e6, 0), (1e-6, 0), (1, 1.5e6), (30, -1e5), (1e30, 0)]
)
def test_zscore_has_mean_0_and_deviation_1_at_any_scale(rng, scale, offset):
    data = (rng.random((8, 9, 10)) * scale + offset).astype(np.float32)
    scaled = one(data, "zscore")
    assert scaled.dtype == np.float32
    assert scaled.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
    assert scaled.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)
    reference = data.astype(np.float64)
    np.testing.assert_allclose(scaled, (reference - reference.mean()) / reference.std(), atol=1e-5)


def test_zscore_does_not_depend_on_the_unit_of_the_scanner(rng):
    data = rng.random((6, 6, 6)).astype(np.float32)
    np.testing.assert_allclose(one(data * 1000 + 5, "zscore"), one(data, "zscore"), atol=1e-3)


def test_percentiles_take_the_power_from_bright_artefacts(rng):
    data = rng.normal(100, 10, (20, 20, 20)).astype(np.float32)
    clean = one(data, "percentile")
    data[0, 0, 0] = 1e6
    np.testing.assert_allclose(one(data, "percentile")[1:], clean[1:], atol=0.05)
    assert np.abs(one(data, "zscore")[1:]).max() < 0.1  # what happens without


def test_range_does_not_depend_on_how_much_of_an_image_objects_cover(rng):
    noise = rng.normal(20, 1, (100, 100)).astype(np.float32)
    contrasts = []
    for edge in (5, 20, 60):
        image = noise.copy()
        image[:edge, :edge] += 100
        scaled = one(image, "range")
        contrasts.append(float(scaled[:edge, :edge].mean() - scaled[edge:, edge:].mean()))
        assert (scaled.min(), scaled.max()) == (-0.5, 3.5)
    assert max(contrasts) < 1.05 * min(contrasts)


def test_range_is_that_of_monai(rng):
    data = rng.gamma(2.0, 30.0, (40, 50)).astype(np.float32)
    theirs = ScaleIntensityRangePercentiles(0.5, 99.9, -0.5, 3.5, clip=True)(data[None])
    np.testing.assert_allclose(one(data, "range"), theirs[0], atol=1e-4)


def test_ct_is_absolute(rng):
    values = np.array([[[-1000.0, -100.0, 50.0, 90.0, 300.0, 3000.0]]])
    np.testing.assert_allclose(one(values, "ct", CT), [[[-3.75, -3.75, 0.0, 1.0, 6.25, 6.25]]])
    assert one(np.full((3, 3, 3), 90.0), "ct", CT).max() == 1  # a constant CT is no accident


def test_none_changes_nothing(rng):
    data = rng.normal(0, 1e5, (4, 5, 6)).astype(np.float32)
    assert np.array_equal(one(data, "none"), data)


@pytest.mark.parametrize("kind", ["zscore", "percentile", "range"])
@pytest.mark.parametrize("value", [0.0, 7.0, 1.5e6, 0.1])
def test_constant_channel_becomes_0_with_a_warning(kind, value):
    with pytest.warns(
        UserWarning, match=r"the volume, channel 0: every voxel is .* Is this the right file\?"
    ):
        assert not one(np.full((4, 4, 4), value), kind).any()


def test_nearly_constant_channel_is_constant_between_its_percentiles():
    data = np.zeros((20, 20, 20), np.float32)
    data[0, 0, 0] = 5
    with pytest.warns(UserWarning, match="every voxel is 0"):
        assert not one(data, "percentile").any()
    assert one(data, "zscore").max() > 50


def test_each_channel_is_scaled_on_its_own(rng):
    data = np.stack(
        [rng.normal(mean, std, (5, 5, 5)) for mean, std in [(0, 1), (1e4, 3), (60, 20), (7, 7), (9, 2)]]
    )
    kinds = ("zscore", "percentile", "ct", "none", "range")
    scaled = normalize(data.astype(np.float32), kinds, (None, None, CT, None, None))
    for channel, (kind, intensity) in enumerate(zip(kinds, (None, None, CT, None, None), strict=True)):
        assert np.array_equal(scaled[channel], one(data[channel], kind, intensity))
    assert set(kinds) == set(NORMALIZATIONS)


@pytest.mark.filterwarnings("ignore:.*every voxel is")
@given(
    hnp.arrays(np.float32, (3, 4, 2), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.sampled_from(["zscore", "percentile", "range", "none"]),
)
def test_result_is_always_finite(data, kind):
    assert np.isfinite(one(data, kind)).all()


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_tensors_are_scaled_as_arrays_are(rng, kind):
    data = rng.gamma(2.0, 30.0, (1, 9, 8, 7)).astype(np.float32)
    entry = CT if kind == "ct" else None
    scaled = normalize_tensor(torch.from_numpy(data), (kind,), (entry,))
    np.testing.assert_allclose(scaled.numpy(), normalize(data, (kind,), (entry,)), atol=2e-6)


def test_input_is_left_alone(rng):
    data = rng.random((1, 4, 4, 4)).astype(np.float32)
    before = data.copy()
    for kind in ("zscore", "percentile", "range", "none"):
        normalize(data, (kind,), (None,))
    assert np.array_equal(data, before)
