import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medconv.errors import BadImageError
from medconv.io.nifti.label_values import smallest_dtype, to_labels

WHOLE = hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=4), elements=st.integers(0, 2**32 - 1))


@given(WHOLE, st.sampled_from([np.int64, np.uint64, np.float64]))
def test_whole_values_stay_the_same(values, dtype):
    labels = to_labels(values.astype(dtype), "x")
    assert np.array_equal(labels, values)
    assert labels.dtype == smallest_dtype(int(values.max()))


@given(WHOLE, st.sets(st.integers(0, 2**32 - 1), min_size=1))
def test_values_pass_exactly_if_all_are_allowed(values, allowed):
    if set(values.ravel().tolist()) <= allowed:
        assert np.array_equal(to_labels(values, "x", allowed), values)
    else:
        with pytest.raises(BadImageError, match=r"x: expected only the labels"):
            to_labels(values, "x", allowed)


def test_long_lists_of_values_are_cut():
    with pytest.raises(BadImageError, match=r"9 \(1 voxels\) and 10 more values"):
        to_labels(np.arange(21), "x", {20})


def test_values_beyond_32_bits_are_refused():
    with pytest.raises(BadImageError, match=r"expected labels from 0 to 2\^32 - 1"):
        to_labels(np.array([2**32]), "x")


def test_values_a_thousandth_from_whole_pass_and_further_ones_do_not():
    assert to_labels(np.array([0.9995, 2.0005]), "x").tolist() == [1, 2]
    with pytest.raises(BadImageError, match=r"1 voxels that are not \(1\.002\)"):
        to_labels(np.array([1.002]), "x")
