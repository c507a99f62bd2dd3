"""Boxes and masks against a brute-force search and a flood from outside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from medconv.planning.nonzero import body_mask, kept_share, nonzero_box

SPARSE = hnp.arrays(
    np.int16,
    st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6)),
    elements=st.sampled_from([0, 0, 0, 0, -3, 5]),
)


@given(SPARSE)
def test_a_box_is_the_range_of_the_indices_that_are_not_zero(data):
    found = np.argwhere(data.any(axis=0))
    expected = (
        tuple(zip(found.min(axis=0).tolist(), (found.max(axis=0) + 1).tolist(), strict=True))
        if len(found)
        else tuple((0, n) for n in data.shape[1:])
    )
    assert nonzero_box(data) == expected


@given(SPARSE.filter(lambda data: min(data.shape[1:]) > 1 and data.any()))
def test_a_mask_is_everything_that_zeros_from_outside_do_not_reach(data):
    inside = data.any(axis=0)
    air, _ = ndimage.label(np.pad(~inside, 1, constant_values=True))
    reached = (air == air[0, 0, 0])[1:-1, 1:-1, 1:-1]
    np.testing.assert_array_equal(body_mask(data), ~reached)


def test_a_single_slice_has_holes_too_and_a_volume_of_zeros_is_kept_whole():
    ring = np.zeros((1, 7, 7, 1), np.float32)
    ring[0, 1:6, 1:6] = 3
    ring[0, 3, 3] = 0
    assert body_mask(ring).sum() == 25
    assert body_mask(np.zeros((1, 2, 3, 4))).all()
    assert nonzero_box(np.zeros((2, 2, 3, 4))) == ((0, 2), (0, 3), (0, 4))


def test_the_share_of_what_is_kept():
    assert kept_share((4, 4, 4), ((0, 2), (1, 3), (0, 4))) == pytest.approx(0.25)
