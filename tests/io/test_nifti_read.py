import gzip
import struct
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medconv.errors import BadImageError, GeometryError, MedconvError
from medconv.io import (
    read_header,
    read_labels,
    read_volume,
    volume_from_array,
    volume_from_nibabel,
    write_labels,
)

DIM, DATATYPE, VOX_OFFSET, SCL_SLOPE, SCL_INTER, XYZT, QFORM_CODE, SFORM_CODE, SROW = (
    (40, "h"),
    (70, "h"),
    (108, "f"),
    (112, "f"),
    (116, "f"),
    (123, "b"),
    (252, "h"),
    (254, "h"),
    (280, "f"),
)


def patch(path, field, *values):
    """Overwrite entries of a NIfTI-1 header in its file."""
    offset, kind = field
    raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    struct.pack_into(f"<{len(values)}{kind}", raw, offset, *values)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz", "SCAN.NII.GZ"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i2", "int32", "float32", ">f4", "float64", "uint16"])
def test_voxels_and_affine_are_those_of_nibabel(tiny_nifti, rng, oblique_affine, name, dtype):
    array = rng.integers(0, 200, (5, 6, 7)).astype(dtype)
    path = tiny_nifti(name, array)
    volume = read_volume(path)
    image = nib.load(path)
    assert volume.data.dtype == np.float32
    assert volume.data.dtype.isnative
    assert np.array_equal(volume.data, image.get_fdata(dtype=np.float32)[None])
    assert np.array_equal(volume.geometry.affine, image.affine)
    assert volume.geometry.spacing_mm == pytest.approx((0.8, 0.8, 2.5))
    assert volume.geometry.orientation == "LPS"
    assert (volume.path, volume.shape, volume.channels) == (path, (5, 6, 7), 1)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((5, 6), (1, 5, 6, 1)),
        ((5, 6, 1), (1, 5, 6, 1)),
        ((5, 6, 7), (1, 5, 6, 7)),
        ((5, 6, 7, 1), (1, 5, 6, 7)),
        ((5, 6, 7, 3), (3, 5, 6, 7)),
        ((5, 6, 7, 1, 3), (3, 5, 6, 7)),
        ((5, 6, 1, 3), (3, 5, 6, 1)),
    ],
)
def test_channels_come_first_and_space_has_three_axes(tiny_nifti, rng, stored, read):
    array = rng.random(stored).astype(np.float32)
    path = tiny_nifti(array=array)
    volume = read_volume(path)
    assert volume.data.shape == read
    assert read_header(path).channels == read[0]
    assert read_header(path).shape == read[1:]
    for channel in range(read[0]):
        one = array[..., channel] if read[0] > 1 else array
        assert np.array_equal(volume.data[channel].ravel(), one.reshape(read[1:]).ravel())


def test_intensity_scaling_of_the_header_is_applied(tiny_nifti):
    path = tiny_nifti("scan.nii", np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    patch(path, SCL_SLOPE, 0.5)
    patch(path, SCL_INTER, -3.0)
    assert read_volume(path).data.max() == 23 * 0.5 - 3


@pytest.mark.parametrize("slope", [0.0, float("nan")])
def test_slope_that_means_unscaled_scales_nothing(tiny_nifti, slope):
    path = patch(tiny_nifti("scan.nii", np.full((2, 2, 2), 7, np.int16)), SCL_SLOPE, slope)
    assert read_volume(path).data.max() == 7


def test_big_endian_file_is_read_and_its_mask_can_be_read(tmp_path, rng):
    array = rng.integers(0, 300, (3, 4, 5)).astype(np.int16)
    image = nib.Nifti1Image(array, np.diag([1.0, 2, 3, 1]), nib.Nifti1Header(endianness=">"))
    nib.save(image, tmp_path / "big.nii")
    assert (tmp_path / "big.nii").read_bytes()[:4] == (348).to_bytes(4, "big")
    volume = read_volume(tmp_path / "big.nii")
    assert np.array_equal(volume.data[0], array)
    write_labels(tmp_path / "mask.nii.gz", array, volume)
    labels = read_labels(tmp_path / "mask.nii.gz", like=volume).data
    assert labels.dtype.isnative
    assert np.array_equal(labels[0], array)


def test_nifti_2_is_read(tmp_path, rng):
    array = rng.random((3, 4, 5)).astype(np.float32)
    nib.save(nib.Nifti2Image(array, np.diag([1.0, 2, 3, 1])), tmp_path / "two.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "two.nii.gz").data[0], array)


@pytest.mark.parametrize(
    ("unit", "factor"), [("meter", 1000.0), ("micron", 0.001), ("mm", 1.0), ("unknown", 1.0)]
)
def test_lengths_are_millimetres_whatever_the_file_uses(tmp_path, unit, factor):
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([1.0, 2.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    geometry = read_volume(tmp_path / "a.nii").geometry
    assert geometry.spacing_mm == pytest.approx((factor, 2 * factor, 4 * factor))
    np.testing.assert_allclose(geometry.affine[:3, :3], np.diag([1.0, 2.0, 4.0]) * factor)


def test_reading_takes_at_most_two_copies(tiny_nifti, rng):
    path = tiny_nifti("scan.nii.gz", rng.random((64, 64, 64)).astype(np.float32))
    one_copy = 64**3 * 4
    tracemalloc.start()
    read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.6 * one_copy


# ---------------------------------------------------------------- damaged files


def test_every_truncation_is_refused(tiny_nifti):
    path = tiny_nifti("scan.nii.gz")
    whole = path.read_bytes()
    for length in [0, 1, 5, 20, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadImageError, match=r"scan\.nii\.gz.*copy it again from its source"):
            read_volume(path)


def test_truncation_without_compression_is_refused_with_the_numbers(tiny_nifti):
    path = tiny_nifti("scan.nii")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadImageError, match=r"need 2,368 bytes, a file of 1,000 bytes.*copy it again"):
        read_volume(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2000), bit=st.integers(0, 7))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_flipped_bit_in_a_compressed_file_is_never_read_as_other_voxels(tiny_nifti, position, bit):
    path = tiny_nifti("scan.nii.gz", np.random.default_rng(1).integers(0, 9, (9, 8, 7)).astype(np.uint8))
    whole = bytearray(path.read_bytes())
    expected = read_volume(path)
    whole[position % len(whole)] ^= 1 << bit
    path.write_bytes(whole)
    try:
        read = read_volume(path)
    except MedconvError:
        return
    assert np.array_equal(read.data, expected.data)  # the flip hit a field of gzip that says nothing
    assert np.array_equal(read.geometry.affine, expected.geometry.affine)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=12))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_garbled_header_gives_a_volume_or_a_clear_error(tiny_nifti, noise):
    path = tiny_nifti("scan.nii")
    raw = bytearray(path.read_bytes())
    for position, value in noise:
        raw[position] = value
    path.write_bytes(raw)
    try:
        volume = read_volume(path, max_voxels=10**6)
    except MedconvError as error:
        message = str(error)
    else:
        message = "scan.nii was read"
        assert np.isfinite(volume.data).all()
        assert np.isfinite(volume.geometry.affine).all()
    assert "scan.nii" in message


@pytest.mark.parametrize("content", [b"", b"hello world, I am no image", b"\x1f\x8b", b"\x00" * 400])
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_what_is_no_nifti_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadImageError, match=r"x\.nii.*damaged or not NIfTI.*copy it again"):
        read_volume(tmp_path / name)


def test_missing_file_folder_and_other_suffix_are_told_apart(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "scan.mha").write_bytes(b"x")
    with pytest.raises(BadImageError, match="no such file"):
        read_volume(tmp_path / "none.nii.gz")
    with pytest.raises(BadImageError, match="got a folder"):
        read_volume(tmp_path / "folder.nii")
    with pytest.raises(BadImageError, match=r"ending in \.nii\.gz or \.nii; convert it"):
        read_volume(tmp_path / "scan.mha")


# ---------------------------------------------------------------- headers that cannot be true


def test_absurd_dimensions_are_refused_before_memory_is_taken(tiny_nifti):
    path = patch(tiny_nifti("scan.nii.gz"), DIM, 3, 32000, 32000, 32000)
    tracemalloc.start()
    with pytest.raises(BadImageError, match=r"32,768,000,000,000 voxels .* max_voxels=2,147,483,648"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_small_file_that_claims_gigabytes_is_refused_before_memory_is_taken(tiny_nifti):
    path = patch(tiny_nifti("scan.nii.gz"), DIM, 3, 1000, 1000, 1000)
    tracemalloc.start()
    with pytest.raises(BadImageError, match=r"voxels need 4,000,000,352 bytes, a file of .* holds at most"):
        read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_the_limit_of_voxels_can_be_chosen(tiny_nifti):
    path = tiny_nifti()
    assert read_volume(path, max_voxels=9 * 8 * 7).shape == (9, 8, 7)
    with pytest.raises(BadImageError, match="more than max_voxels=503"):
        read_volume(path, max_voxels=503)
    with pytest.raises(BadImageError, match="more than max_voxels=503"):
        read_labels(path, max_voxels=503)


@pytest.mark.parametrize("dims", [(3, 0, 8, 7), (3, 9, 8, 0), (4, 9, 8, 7, 0)])
def test_volumes_without_voxels_are_refused(tiny_nifti, dims):
    path = patch(tiny_nifti("scan.nii"), DIM, *dims)
    with pytest.raises(BadImageError, match="at least one voxel along every axis, got the shape"):
        read_volume(path)


def test_negative_dimensions_are_refused(tiny_nifti):
    with pytest.raises(BadImageError, match=r"scan\.nii"):
        read_volume(patch(tiny_nifti("scan.nii"), DIM, 3, -9, 8, 7))


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2, 2, 2), (2, 2, 2, 1, 2, 2)])
def test_other_numbers_of_axes_are_refused(tmp_path, shape):
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4)), tmp_path / "x.nii")
    with pytest.raises(BadImageError, match=r"expected \(X, Y\), \(X, Y, Z\)"):
        read_volume(tmp_path / "x.nii")


def test_complex_and_colour_voxels_are_refused(tmp_path):
    colour = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array, kind in [(np.zeros((2, 2, 2), np.complex64), "complex64"), (colour, "RGB")]:
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "x.nii")
        with pytest.raises(BadImageError, match=f"integer or real voxels, got {kind}"):
            read_volume(tmp_path / "x.nii")


@pytest.mark.parametrize(
    ("slope", "inter"), [(np.inf, 0.0), (-np.inf, 0.0), (1.0, np.nan), (1.0, np.inf), (2.0, -np.inf)]
)
def test_meaningless_scaling_is_refused(tiny_nifti, slope, inter):
    path = patch(tiny_nifti("scan.nii", np.ones((2, 2, 2), np.int16)), SCL_SLOPE, slope)
    patch(path, SCL_INTER, inter)
    with pytest.raises(BadImageError, match=r"finite intensity scaling, got scl_slope"):
        read_volume(path)


def test_scaling_beyond_float32_is_refused(tiny_nifti):
    path = patch(tiny_nifti("scan.nii", np.full((2, 2, 2), 100, np.int16)), SCL_SLOPE, 3e38)
    with pytest.raises(BadImageError, match="8 infinite of 8"):
        read_volume(path)


def test_voxels_that_are_not_finite_are_counted(tiny_nifti, rng):
    array = rng.random((5, 5, 5)).astype(np.float32)
    array[0, 0, :3] = np.nan
    array[1, 1, :2] = -np.inf
    with pytest.raises(BadImageError, match=r"3 NaN and 2 infinite of 125.*numpy\.nan_to_num"):
        read_volume(tiny_nifti(array=array))


def test_float64_voxels_beyond_float32_are_counted_as_infinite(tiny_nifti):
    with pytest.raises(BadImageError, match="0 NaN and 1 infinite"):
        read_volume(tiny_nifti(array=np.array([[[1e39, 1.0]]])))


def test_voxels_that_would_start_far_away_are_refused(tiny_nifti):
    with pytest.raises(BadImageError, match="voxels would start at byte"):
        read_volume(patch(tiny_nifti("scan.nii"), VOX_OFFSET, 2e9))


# ---------------------------------------------------------------- affines


def test_affine_that_is_not_finite_is_refused(tiny_nifti):
    with pytest.raises(GeometryError, match=r"scan\.nii: expected a finite affine, got \[nan"):
        read_volume(patch(tiny_nifti("scan.nii"), SROW, float("nan")))


def test_singular_affine_is_refused(tiny_nifti):
    path = patch(tiny_nifti("scan.nii"), SROW, *[0.0] * 12)
    with pytest.raises(GeometryError, match=r"scan\.nii: expected an invertible affine, got the singular"):
        read_volume(path)


def two_forms(tmp_path, shift_mm, sform_code=1, qform_code=1):
    image = nib.Nifti1Image(np.zeros((10, 10, 10), np.uint8), np.diag([2.0, 2, 2, 1]))
    moved = np.diag([2.0, 2, 2, 1])
    moved[0, 3] = shift_mm
    image.set_sform(np.diag([2.0, 2, 2, 1]), sform_code)
    image.set_qform(moved, qform_code)
    nib.save(image, tmp_path / "two.nii.gz")
    return tmp_path / "two.nii.gz"


def test_qform_and_sform_may_differ_by_rounding(tmp_path):
    assert read_volume(two_forms(tmp_path, 0.09)).geometry.affine[0, 3] == 0


def test_qform_and_sform_that_disagree_are_refused_with_the_distance(tmp_path):
    path = two_forms(tmp_path, 3.0)
    with pytest.raises(
        GeometryError, match=r"corners up to 1\.5 voxels apart \(sform code 1, qform code 1.*set_qform"
    ):
        read_volume(path)
    with pytest.raises(GeometryError, match=r"voxels apart"):
        read_labels(path)


def test_one_of_two_disagreeing_forms_can_be_chosen(tmp_path):
    path = two_forms(tmp_path, 3.0)
    assert read_volume(path, form="sform").geometry.affine[0, 3] == 0
    assert read_volume(path, form="qform").geometry.affine[0, 3] == 3
    assert read_labels(path, form="qform").geometry.affine[0, 3] == 3
    assert read_header(path, form="qform").geometry.affine[0, 3] == 3


def test_a_form_with_code_0_does_not_count(tmp_path):
    assert read_volume(two_forms(tmp_path, 3.0, sform_code=0)).geometry.affine[0, 3] == 3
    assert read_volume(two_forms(tmp_path, 3.0, qform_code=0)).geometry.affine[0, 3] == 0


def test_no_form_at_all_is_read_with_a_warning(tiny_nifti):
    path = patch(tiny_nifti("scan.nii"), QFORM_CODE, 0, 0)
    with pytest.warns(UserWarning, match="neither qform nor sform.*Left and right may be swapped"):
        volume = read_volume(path)
    assert volume.geometry.orientation == "LAS"
    assert volume.geometry.spacing_mm == pytest.approx((0.8, 0.8, 2.5))


def test_unusable_qform_beside_a_good_sform_is_refused(tiny_nifti):
    path = patch(tiny_nifti("scan.nii"), (256, "f"), 0.9, 0.9, 0.9)
    with pytest.raises(GeometryError, match=r"the qform of the header is unusable .*set it anew"):
        read_volume(path)
    assert read_volume(path, form="sform").geometry.orientation == "LPS"


def test_shear_is_repaired_or_refused_by_its_size(tmp_path):
    for degrees, outcome in [(0.5, "warned"), (10, "refused")]:
        affine = np.eye(4)
        affine[0, 1] = np.tan(np.deg2rad(degrees))
        image = nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 1)
        nib.save(image, tmp_path / "s.nii")
        if outcome == "warned":
            with pytest.warns(UserWarning, match=r"s\.nii: voxel axes are 0\.5° from perpendicular"):
                read_volume(tmp_path / "s.nii")
        else:
            with pytest.raises(GeometryError, match=r"s\.nii: .* two are 10° from it"):
                read_volume(tmp_path / "s.nii")


# ---------------------------------------------------------------- channels


def test_another_number_of_channels_is_refused(tiny_nifti, rng):
    series = tiny_nifti(array=rng.random((4, 4, 4, 5)).astype(np.float32))
    assert read_volume(series, channels=5).channels == 5
    with pytest.raises(BadImageError, match=r"expected 1 channel\(s\), got 5; .*img\.slicer"):
        read_volume(series, channels=1)
    with pytest.raises(BadImageError, match=r"expected 2 channel\(s\), got 1"):
        read_volume(tiny_nifti(), channels=2)


# ---------------------------------------------------------------- labels


def test_labels_are_the_smallest_unsigned_type(tiny_nifti):
    for most, dtype in [(1, "uint8"), (255, "uint8"), (256, "uint16"), (70_000, "uint32")]:
        stored = np.array([[[0, most]]], dtype=np.int32)
        labels = read_labels(tiny_nifti(array=stored))
        assert labels.data.dtype == dtype
        assert np.array_equal(labels.data[0], stored)


def test_type_of_labels_follows_what_is_allowed(tiny_nifti):
    path = tiny_nifti(array=np.zeros((2, 2, 2), np.uint8))
    assert read_labels(path, allowed={0, 300}).data.dtype == np.uint16


def test_labels_stored_as_real_numbers_are_read(tiny_nifti):
    labels = read_labels(tiny_nifti(array=np.array([[[0.0, 1.0, 2.0004]]])), allowed={0, 1, 2})
    assert labels.data.tolist() == [[[[0, 1, 2]]]]


def test_labels_that_are_not_whole_are_refused_with_examples(tiny_nifti):
    path = tiny_nifti(array=np.array([[[0.0, 0.25, 1.5]]]))
    with pytest.raises(BadImageError, match=r"2 voxels that are not \(0\.25, 1\.5\).*nearest neighbour"):
        read_labels(path)


def test_labels_outside_the_declared_set_are_listed_with_counts(tiny_nifti):
    path = tiny_nifti(array=np.array([[[0, 1, 7, 7, 9]]], dtype=np.uint8))
    with pytest.raises(
        BadImageError, match=r"only the labels \[0, 1\], got also 7 \(2 voxels\), 9 \(1 voxels\)"
    ):
        read_labels(path, allowed={0, 1})


def test_negative_and_missing_label_values_are_refused(tiny_nifti):
    with pytest.raises(BadImageError, match=r"labels from 0 to .*, got -1 to 0"):
        read_labels(tiny_nifti(array=np.array([[[0, -1]]], dtype=np.int16)))
    with pytest.raises(BadImageError, match="2 that are NaN or infinite"):
        read_labels(tiny_nifti(array=np.array([[[0, np.nan, np.inf]]])))


def test_a_label_map_has_one_channel(tiny_nifti):
    with pytest.raises(BadImageError, match=r"expected 1 channel\(s\), got 2"):
        read_labels(tiny_nifti(array=np.zeros((3, 3, 3, 2), np.uint8)))


def test_labels_must_lie_on_the_grid_of_the_image(tiny_nifti, oblique_affine):
    image = read_volume(tiny_nifti("image.nii.gz"))
    zeros = np.zeros((9, 8, 7), np.uint8)
    assert read_labels(tiny_nifti("same.nii.gz", zeros), like=image).shape == image.shape
    moved = oblique_affine.copy()
    moved[:3, 3] += moved[:3, 2] * 0.3
    with pytest.raises(
        GeometryError, match=r"moved\.nii\.gz: expected the grid of .*image\.nii\.gz.*0\.3 voxels apart"
    ):
        read_labels(tiny_nifti("moved.nii.gz", zeros, moved), like=image)
    with pytest.raises(GeometryError, match=r"expected the shape \(9, 8, 7\).*got \(9, 8, 6\)"):
        read_labels(tiny_nifti("cut.nii.gz", zeros[..., :6]), like=image)


# ---------------------------------------------------------------- volumes that are in memory


def test_nibabel_image_is_the_same_as_its_file(tiny_nifti):
    path = tiny_nifti()
    from_file, from_memory = read_volume(path), volume_from_nibabel(nib.load(path))
    assert np.array_equal(from_file.data, from_memory.data)
    assert np.array_equal(from_file.geometry.affine, from_memory.geometry.affine)
    assert from_memory.path == path


def test_nibabel_image_that_was_never_saved_is_taken(rng):
    array = rng.random((3, 4, 5))
    volume = volume_from_nibabel(nib.Nifti1Image(array, np.diag([1.0, 2, 3, 1])))
    assert volume.geometry.spacing_mm == (1, 2, 3)
    assert np.array_equal(volume.data[0], array.astype(np.float32))
    assert volume.path is None


def test_nibabel_image_is_checked_like_a_file():
    with pytest.raises(BadImageError, match=r"the nibabel image: .* 1 NaN"):
        volume_from_nibabel(nib.Nifti1Image(np.array([[[np.nan, 1.0]]]), np.eye(4)))
    with pytest.raises(BadImageError, match=r"the nibabel image: expected 2 channel\(s\), got 1"):
        volume_from_nibabel(nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), channels=2)
    with pytest.raises(BadImageError, match="more than max_voxels=7"):
        volume_from_nibabel(nib.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), max_voxels=7)


def test_array_becomes_a_volume_with_the_spacing_given(rng):
    array = rng.random((3, 4, 5))
    volume = volume_from_array(array, (1, 2, 3))
    assert np.array_equal(volume.data[0], array.astype(np.float32))
    assert np.array_equal(volume.geometry.affine, np.diag([1, 2, 3, 1]))
    assert (volume.geometry.orientation, volume.channels) == ("RAS", 1)
    assert volume_from_array(rng.random((2, 3, 4, 5)), (1, 2, 3)).channels == 2
    assert volume_from_array(rng.random((3, 4)), (1, 2)).data.shape == (1, 3, 4, 1)
    assert volume_from_array(rng.random((2, 3, 4)), (1, 2)).data.shape == (2, 3, 4, 1)


def test_array_is_copied_not_shared(rng):
    array = rng.random((3, 4, 5)).astype(np.float32)
    volume = volume_from_array(array, (1, 1, 1))
    array[:] = 0
    assert volume.data.max() > 0


def test_unusable_arrays_are_refused():
    with pytest.raises(BadImageError, match=r"array of 3 axes .* got the shape \(3, 4\)"):
        volume_from_array(np.zeros((3, 4)), (1, 1, 1))
    with pytest.raises(BadImageError, match=r"at least one voxel"):
        volume_from_array(np.zeros((3, 0, 4)), (1, 1, 1))
    with pytest.raises(BadImageError, match=r"the array: .* 1 NaN"):
        volume_from_array(np.array([[[np.nan]]]), (1, 1, 1))
    for spacing in [(1, 1, 0), (1, 1, -1), (1, 1, np.nan), (1,), (1, 1, 1, 1)]:
        with pytest.raises(GeometryError, match="two or three positive numbers"):
            volume_from_array(np.zeros((3, 4, 5)), spacing)
