import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medconv.planning import median_shape, median_spacing

# ---------------------------------------------------------------- spacing


def test_spacing_is_the_median_along_each_axis():
    assert median_spacing([(1, 2, 3), (1, 2, 3), (9, 9, 9)], [(100, 100, 100)] * 3) == (1, 2, 3)


def test_coarse_axis_with_few_slices_takes_the_tenth_percentile():
    thick = [(1.0, 1.0, z) for z in (3.0, 4.0, 5.0, 6.0, 7.0)]
    assert median_spacing(thick, [(300, 300, 30)] * 5) == pytest.approx((1, 1, 3.4))
    # enough slices: 120 × 3 is not below 300
    assert median_spacing(thick, [(300, 300, 120)] * 5) == pytest.approx((1, 1, 5))


def test_three_times_coarser_is_not_yet_anisotropic():
    assert median_spacing([(1, 1, 3), (1, 1, 3), (1, 1, 1)], [(300, 300, 30)] * 3) == (1, 1, 3)


def test_tenth_percentile_does_not_go_below_the_other_axes():
    mixed = [(1.0, 1.0, 0.5)] * 2 + [(1.0, 1.0, 5.0)] * 8
    assert median_spacing(mixed, [(300, 300, 30)] * 10) == (1, 1, 1)


@given(st.permutations([0, 1, 2]))
def test_the_rule_does_not_care_which_axis_is_coarse(order):
    spacings = np.array([(1.0, 1.2, z) for z in (4.0, 5.0, 6.0)])[:, order]
    shapes = np.array([(300, 310, 30)] * 3)[:, order]
    expected = np.array(median_spacing([(1.0, 1.2, z) for z in (4.0, 5.0, 6.0)], [(300, 310, 30)] * 3))[order]
    assert median_spacing(spacings, shapes) == pytest.approx(tuple(expected))


def test_two_axes_work_too():
    assert median_spacing([(0.5, 0.6)] * 3, [(512, 512)] * 3) == (0.5, 0.6)


def test_median_shape_is_that_of_the_resampled_cases():
    shapes, spacings = [(10, 10, 10), (20, 20, 20), (40, 40, 40)], [(2, 2, 2), (1, 1, 1), (1, 1, 1)]
    assert median_shape(shapes, spacings, (1, 1, 2)) == (20, 20, 10)
    assert median_shape([(1, 1, 1)], [(1, 1, 1)], (9, 9, 9)) == (1, 1, 1)
