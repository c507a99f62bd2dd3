import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medconv.errors import ConfigError
from medconv.planning import (
    default_patch,
    median_shape,
    median_spacing,
    normalization_for,
    poolings_per_axis,
)

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


# ---------------------------------------------------------------- patch

# what nnU-Net's planner chooses where memory does not bind: patch and halvings an axis
KNOWN = [
    ((36, 50, 35), (1.0, 1.0, 1.0), 3, (40, 56, 40)),  # hippocampus, nnU-Net 3d_fullres
    ((50, 35), (1.0, 1.0), 3, (56, 40)),  # hippocampus, nnU-Net 2d
    ((256, 256), (1.0, 1.0), 6, (256, 256)),  # nuclei, nnU-Net 2d
]


@pytest.mark.parametrize(("shape", "spacing", "poolings", "patch"), KNOWN)
def test_patch_is_that_of_nnunet(shape, spacing, poolings, patch):
    assert default_patch(shape, spacing, poolings) == patch


def test_patch_of_a_large_scan_has_the_shape_of_a_body_and_fits():
    # liver: nnU-Net's choice
    assert default_patch((482, 512, 512), (1.0, 0.77, 0.77), 5, max_voxels=128**3) == (128, 128, 128)


def test_thick_slices_get_fewer_voxels_and_fewer_halvings():
    assert poolings_per_axis((320, 320, 24), (0.7, 0.7, 4.0), 5) == (5, 5, 2)
    patch = default_patch((320, 320, 24), (0.7, 0.7, 4.0), 5, max_voxels=2**20)
    share = np.array(patch) / (320, 320, 24)
    assert share.max() / share.min() < 1.3
    assert patch[2] % 4 == 0


@pytest.mark.parametrize(
    ("shape", "spacing", "poolings", "expected"),
    [
        ((36, 50, 35), (1, 1, 1), 3, (3, 3, 3)),
        ((36, 50, 35), (1, 1, 1), 9, (3, 3, 3)),
        ((64, 64, 1), (1, 1, 1), 4, (4, 4, 0)),
        ((7, 7, 7), (1, 1, 1), 3, (0, 0, 0)),
        # alone an axis needs 12 voxels: 12 → 6, but 11 stays
        ((12, 7, 7), (1, 1, 1), 3, (1, 0, 0)),
        ((11, 7, 7), (1, 1, 1), 3, (0, 0, 0)),
        # exactly twice as coarse waits one halving
        ((64, 64, 64), (1, 1, 2), 3, (3, 3, 2)),
        ((64, 64, 64), (1, 1, 1.99), 3, (3, 3, 3)),
    ],
)
def test_an_axis_is_halved_while_it_is_large_and_fine_enough(shape, spacing, poolings, expected):
    assert poolings_per_axis(shape, spacing, poolings) == expected


@given(
    shape=st.tuples(*[st.integers(1, 600)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8)] * 3),
    poolings=st.integers(0, 5),
    room=st.integers(15, 24),
)
def test_every_patch_fits_divides_and_covers_no_more_than_needed(shape, spacing, poolings, room):
    divisor = 2 ** np.array(poolings_per_axis(shape, spacing, poolings))
    patch = np.array(default_patch(shape, spacing, poolings, max_voxels=2**room))
    assert patch.prod() <= 2**room
    assert (patch % divisor == 0).all()
    assert (patch > 0).all()
    assert (patch < np.array(shape) + divisor).all()


def test_more_room_never_makes_the_patch_smaller():
    sizes = [np.prod(default_patch((300, 200, 100), (1, 1, 2), 4, max_voxels=2**n)) for n in range(14, 25)]
    assert sizes == sorted(sizes)


def test_halvings_can_be_given_an_axis():
    assert default_patch((36, 50, 35), (1, 1, 1), (2, 3, 0)) == (36, 56, 35)


def test_room_for_nothing_is_refused():
    with pytest.raises(
        ConfigError, match=r"at least \[8, 8, 8\] voxels, got max_voxels=100; use fewer poolings"
    ):
        default_patch((36, 50, 35), (1, 1, 1), 3, max_voxels=100)


# ---------------------------------------------------------------- normalisation


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CT", "ct"),
        ("ct scan", "ct"),
        ("CT_portal", "ct"),
        ("MRI", "zscore"),
        ("T1", "zscore"),
        ("FLAIR", "zscore"),
        ("infarct", "zscore"),
        ("structural", "zscore"),
        ("noNorm", "none"),
        ("image", "zscore"),
    ],
)
def test_normalisation_follows_the_name_of_the_channel(name, kind):
    assert normalization_for(name) == kind
