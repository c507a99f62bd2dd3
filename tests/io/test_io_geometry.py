import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel.orientations import aff2axcodes

from medconv.errors import GeometryError
from medconv.io import Volume
from medconv.io.geometry import (
    geometry_from_affine,
    grid_difference_vox,
    reorient,
    reorient_geometry,
    reorient_shape,
    require_same_grid,
    resize_geometry,
    turned_view,
    undo_reorient,
)
from medconv.types import Geometry

ORIENTATIONS = [
    "".join(pair[side] for pair, side in zip(order, sides, strict=True))
    for order in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
]


def oblique(orientation="RAS", spacing=(0.7, 1.1, 2.9), degrees=(12, -8, 20)):
    """An affine whose axes lie near ``orientation``, tilted about all three body axes."""
    rows = {"L": 0, "R": 0, "P": 1, "A": 1, "I": 2, "S": 2}
    axes = np.zeros((3, 3))
    for column, letter in enumerate(orientation):
        axes[rows[letter], column] = 1 if letter in "RAS" else -1
    for axis, angle in enumerate(np.deg2rad(degrees)):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        axes = turn @ axes
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = (-31.5, 12.25, 7.0)
    return affine


def world(affine, index):
    return (affine @ [*index, 1])[:3]


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_each_orientation_is_named_turned_and_turned_back_bit_by_bit(orientation, rng):
    geometry = geometry_from_affine(oblique(orientation))
    assert geometry.orientation == orientation
    data = rng.random((2, 3, 4, 5)).astype(np.float32)
    turned, turned_geometry = reorient(data, geometry, "RAS")
    assert turned.flags.c_contiguous
    assert turned.shape[1:] == reorient_shape(data.shape[1:], geometry, "RAS")
    assert geometry_from_affine(turned_geometry.affine).orientation == turned_geometry.orientation == "RAS"
    assert np.array_equal(undo_reorient(turned, geometry, "RAS"), data)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turning_agrees_with_nibabel(orientation, rng):
    affine = oblique(orientation)
    data = rng.random((4, 5, 6))
    expected = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    turned, geometry = reorient(data[None], geometry_from_affine(affine), "RAS")
    assert np.array_equal(turned[0], expected.get_fdata())
    np.testing.assert_allclose(geometry.affine, expected.affine, atol=1e-12)


@given(
    source=st.sampled_from(ORIENTATIONS),
    target=st.sampled_from(ORIENTATIONS),
    index=st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 4)),
)
def test_each_voxel_keeps_its_place_in_mm(source, target, index):
    geometry = geometry_from_affine(oblique(source))
    data = np.zeros((1, 3, 4, 5))
    data[(0, *index)] = 1
    turned, turned_geometry = reorient(data, geometry, target)
    moved = tuple(int(i[0]) for i in np.nonzero(turned[0]))
    np.testing.assert_allclose(world(turned_geometry.affine, moved), world(geometry.affine, index), atol=1e-9)
    np.testing.assert_allclose(
        turned_geometry.spacing_mm, np.linalg.norm(turned_geometry.affine[:3, :3], axis=0)
    )


def test_native_orientation_leaves_everything_as_it_is(rng):
    geometry = geometry_from_affine(oblique("PIR"))
    data = rng.random((1, 3, 4, 5))
    same, same_geometry = reorient(data, geometry, "native")
    assert np.array_equal(same, data)
    assert np.array_equal(same_geometry.affine, geometry.affine)
    assert same_geometry.orientation == "PIR"
    assert np.array_equal(undo_reorient(same, geometry, "native"), data)


@pytest.mark.parametrize("wrong", ["RAP", "RA", "XYZ", "RRS", "ras", ""])
def test_what_is_no_orientation_is_refused(wrong):
    with pytest.raises(GeometryError, match="one of each pair L/R, A/P, S/I"):
        reorient(np.zeros((1, 2, 2, 2)), geometry_from_affine(np.eye(4)), wrong)


def test_the_name_of_any_orientation_is_that_of_nibabel(rng):
    for _ in range(300):
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        affine = np.eye(4)
        affine[:3, :3] = turn * rng.uniform(0.3, 5, 3)
        assert geometry_from_affine(affine).orientation == "".join(aff2axcodes(affine))


def test_45_degrees_still_gives_a_permutation(rng):
    affine = oblique("RAS", (1, 1, 1), (0, 0, 45))
    data = rng.random((1, 3, 4, 5))
    turned, geometry = reorient(data, geometry_from_affine(affine), "LPI")
    assert sorted(turned.shape) == sorted(data.shape)
    assert np.array_equal(undo_reorient(turned, geometry_from_affine(affine), "LPI"), data)
    assert geometry.orientation == "LPI"


@pytest.mark.parametrize(
    ("affine", "what"),
    [
        (np.diag([1.0, np.nan, 1, 1]), "expected a finite affine"),
        (np.diag([1.0, np.inf, 1, 1]), "expected a finite affine"),
        (np.diag([1.0, 0, 1, 1]), "singular"),
        (np.array([[1.0, 2, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "singular"),
        (np.eye(3), r"shape \(4, 4\), got \(3, 3\)"),
    ],
)
def test_unusable_affine_is_refused_with_its_numbers(affine, what):
    with pytest.raises(GeometryError, match=f"scan.nii: .*{what}"):
        geometry_from_affine(affine, "scan.nii")


def sheared(degrees):
    affine = np.diag([0.5, 2.0, 3.0, 1.0])
    affine[0, 1] = 2.0 * np.sin(np.deg2rad(degrees))
    affine[1, 1] = 2.0 * np.cos(np.deg2rad(degrees))
    return affine


def test_tiny_shear_is_made_perpendicular_with_a_warning():
    with pytest.warns(UserWarning, match=r"0\.8° from perpendicular"):
        geometry = geometry_from_affine(sheared(0.8))
    axes = geometry.affine[:3, :3]
    np.testing.assert_allclose(axes.T @ axes, np.diag([0.25, 4.0, 9.0]), atol=1e-12)
    assert geometry.spacing_mm == pytest.approx((0.5, 2.0, 3.0))
    # the nearest perpendicular axes: each of the two turned by half the angle
    assert np.degrees(np.arctan2(axes[1, 0], axes[0, 0])) == pytest.approx(-0.4, abs=1e-3)


def test_shear_of_rounding_is_left_alone():
    affine = sheared(0.01)
    assert np.array_equal(geometry_from_affine(affine).affine, affine)


def test_strong_shear_is_refused_with_the_angle():
    with pytest.raises(GeometryError, match=r"two are 5° from it .* tilt correction"):
        geometry_from_affine(sheared(5))


@given(
    old=st.tuples(*[st.integers(1, 40)] * 3),
    new=st.tuples(*[st.integers(1, 40)] * 3),
)
def test_resized_grid_covers_the_same_field_of_view(old, new):
    geometry = geometry_from_affine(oblique("LIP"))
    resized = resize_geometry(geometry, old, new)
    for corner in itertools.product((0, 1), repeat=3):
        before = [-0.5 if side == 0 else size - 0.5 for side, size in zip(corner, old, strict=True)]
        after = [-0.5 if side == 0 else size - 0.5 for side, size in zip(corner, new, strict=True)]
        np.testing.assert_allclose(world(geometry.affine, before), world(resized.affine, after), atol=1e-9)
    np.testing.assert_allclose(resized.spacing_mm, np.linalg.norm(resized.affine[:3, :3], axis=0))


def volume(affine, shape=(10, 11, 12)):
    return Volume(np.zeros((1, *shape)), geometry_from_affine(affine), None)


def test_grid_difference_is_the_shift_in_voxels():
    affine, moved = oblique("RAS"), oblique("RAS")
    moved[:3, 3] += moved[:3, 0] * 0.25 - moved[:3, 2] * 0.75
    assert grid_difference_vox(affine, moved, (4, 4, 4)) == pytest.approx(0.75)


def test_grids_within_a_twentieth_of_a_voxel_are_the_same():
    affine = oblique("RAS")
    near = affine.copy()
    near[:3, 3] += affine[:3, 1] * 0.049
    require_same_grid(volume(affine), volume(near))


def test_grids_further_apart_are_refused_with_the_distance():
    affine = oblique("RAS")
    far = affine.copy()
    far[:3, 3] += affine[:3, 1] * 0.051
    with pytest.raises(GeometryError, match=r"within 0\.05 voxel.*0\.051 voxels apart.*nearest neighbour"):
        require_same_grid(volume(affine), volume(far))


def test_voxels_of_another_size_are_told_with_both_sizes():
    with pytest.raises(GeometryError, match=r"voxels are 2 × 2 × 3 mm against 1 × 1 × 1 mm, corners lie"):
        require_same_grid(volume(np.eye(4)), volume(np.diag([2.0, 2, 3, 1])))


def test_a_tiny_turn_counts_by_its_effect_at_the_far_corner():
    near, far = oblique("RAS", degrees=(0, 0, 0)), oblique("RAS", degrees=(0, 0, 0.5))
    require_same_grid(volume(near, (2, 2, 2)), volume(far, (2, 2, 2)))
    with pytest.raises(GeometryError, match="voxels apart"):
        require_same_grid(volume(near, (200, 200, 2)), volume(far, (200, 200, 2)))


def test_other_shapes_are_refused_with_both():
    with pytest.raises(GeometryError, match=r"expected the shape \(10, 11, 12\).*got \(10, 11, 13\)"):
        require_same_grid(volume(np.eye(4)), volume(np.eye(4), (10, 11, 13)))


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SAR", "native"])
def test_what_is_written_to_a_turned_view_lands_turned_back(rng, oblique_affine, orientation):
    data, geometry = rng.random((2, 4, 5, 6)), geometry_from_affine(oblique_affine)
    turned, _ = reorient(data, geometry, orientation)
    target = np.zeros_like(data)
    turned_view(target, geometry, orientation)[...] = turned
    assert np.array_equal(target, data)


def test_pixels_are_not_compared_with_millimetres():
    class Placed:
        shape, name = (4, 5, 1), "the image"

        def __init__(self, spacing_mm, unit):
            affine = np.diag((*spacing_mm, 1.0))
            self.geometry = Geometry(affine, spacing_mm, "RAS", unit)

    sized, unsized = Placed((5e-4, 5e-4, 1.0), "mm"), Placed((1.0, 1.0, 1.0), "px")
    require_same_grid(sized, unsized)
    require_same_grid(unsized, sized)
    with pytest.raises(GeometryError, match=r"voxels are 1 × 1 × 1000 µm against 0\.5 ×"):
        require_same_grid(sized, Placed((1e-3, 1e-3, 1.0), "mm"))


def test_a_unit_survives_turning_and_resizing():
    geometry = Geometry(np.eye(4), (1.0, 1.0, 1.0), "RAS", "px")
    assert reorient_geometry(geometry, (4, 5, 6), "LPS").unit == "px"
    assert resize_geometry(geometry, (4, 5, 6), (2, 5, 6)).unit == "px"
    assert geometry.voxel_ml is None
    assert Geometry(np.eye(4), (1.0, 2.0, 5.0), "RAS").voxel_ml == 0.01
