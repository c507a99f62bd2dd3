from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension

from medconv.errors import BadImageError, ConfigError, GeometryError
from medconv.io import (
    labels_to_nibabel,
    read_header,
    read_labels,
    read_volume,
    volume_from_array,
    write_labels,
    write_volume,
)
from medconv.io.nifti import label_names_in_header, label_table_xml

NAMES = {0: "background", 1: "grey & white <matter>", 2: 'ventricle "left"'}


@pytest.fixture
def scan(tmp_path, rng, oblique_affine):
    """An image with a header full of things to keep."""
    image = nib.Nifti1Image(rng.integers(0, 4000, (7, 6, 5)).astype(np.int16), oblique_affine)
    image.set_sform(oblique_affine, 2)
    image.set_qform(oblique_affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"scanner 3T, protocol 7"
    image.header["cal_max"] = 4000
    image.header.set_dim_info(0, 1, 2)
    image.header.extensions.append(Nifti1Extension(6, b"name of the patient"))
    nib.save(image, tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_come_back_as_they_were_written(scan, tmp_path, rng, suffix):
    volume = read_volume(scan)
    labels = rng.integers(0, 3, volume.shape)
    write_labels(tmp_path / f"mask{suffix}", labels, volume, NAMES)
    back = read_labels(tmp_path / f"mask{suffix}", allowed=NAMES, like=volume)
    assert np.array_equal(back.data[0], labels)
    assert np.array_equal(back.geometry.affine, volume.geometry.affine)


@pytest.mark.parametrize(
    ("most", "dtype"), [(2, "uint8"), (255, "uint8"), (256, "uint16"), (66_000, "uint32")]
)
def test_labels_are_stored_as_small_as_they_fit_and_unscaled(scan, tmp_path, most, dtype):
    volume = read_volume(scan)
    labels = np.zeros(volume.shape, np.int64)
    labels[0, 0, 0] = most
    write_labels(tmp_path / "mask.nii.gz", labels, volume)
    stored = nib.load(tmp_path / "mask.nii.gz")
    assert stored.get_data_dtype() == dtype
    assert (stored.dataobj.slope, stored.dataobj.inter) == (1, 0)
    assert stored.dataobj[0, 0, 0] == most


def test_header_of_the_image_is_kept_and_both_forms_are_equal(scan, tmp_path):
    write_labels(tmp_path / "mask.nii.gz", np.ones((7, 6, 5), np.uint8), read_volume(scan), NAMES)
    image, mask = nib.load(scan), nib.load(tmp_path / "mask.nii.gz")
    assert mask.header.get_xyzt_units() == ("mm", "sec")
    assert bytes(mask.header["descrip"]) == bytes(image.header["descrip"])
    assert mask.header.get_dim_info() == (0, 1, 2)
    assert np.array_equal(mask.affine, image.affine)
    np.testing.assert_allclose(mask.get_qform(), mask.get_sform(), atol=1e-5)
    assert int(mask.header["sform_code"]) == int(mask.header["qform_code"]) == 2
    assert float(mask.header["cal_max"]) == 1
    assert mask.header.get_intent()[0] == "label"


def test_a_missing_form_is_added(tmp_path, oblique_affine):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), oblique_affine)
    image.set_sform(oblique_affine, 1)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "scan.nii")
    write_labels(tmp_path / "mask.nii", np.zeros((4, 4, 4), int), read_volume(tmp_path / "scan.nii"))
    mask = nib.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(mask.get_qform(coded=True)[0], oblique_affine, atol=1e-5)


def test_a_file_without_forms_gives_a_mask_without_forms(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), None), tmp_path / "scan.nii")
    with pytest.warns(UserWarning, match="neither qform nor sform"):
        volume = read_volume(tmp_path / "scan.nii")
    write_labels(tmp_path / "mask.nii", np.zeros((4, 4, 4), int), volume)
    header = nib.load(tmp_path / "mask.nii").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 0)


def test_sheared_image_keeps_its_own_sform(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = np.tan(np.deg2rad(0.9))
    image = nib.Nifti1Image(np.zeros((40, 40, 4), np.uint8), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "scan.nii")
    with pytest.warns(UserWarning, match="from perpendicular"):
        volume = read_volume(tmp_path / "scan.nii")
    write_labels(tmp_path / "mask.nii", np.zeros((40, 40, 4), int), volume)
    mask = nib.load(tmp_path / "mask.nii")
    np.testing.assert_allclose(mask.affine, affine, atol=1e-6)
    assert int(mask.header["qform_code"]) == 0
    with pytest.warns(UserWarning, match="from perpendicular"):
        read_labels(tmp_path / "mask.nii", like=volume)


def test_file_in_micrometres_gives_a_mask_in_micrometres(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.diag([500.0, 500, 500, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "scan.nii")
    volume = read_volume(tmp_path / "scan.nii")
    write_labels(tmp_path / "mask.nii", np.zeros((4, 4, 4), int), volume)
    mask = nib.load(tmp_path / "mask.nii")
    assert mask.header.get_xyzt_units()[0] == "micron"
    assert np.array_equal(mask.affine, np.diag([500.0, 500, 500, 1]))
    assert read_labels(tmp_path / "mask.nii", like=volume).geometry.spacing_mm == pytest.approx(
        (0.5, 0.5, 0.5)
    )


def test_nifti_2_stays_nifti_2(tmp_path):
    nib.save(nib.Nifti2Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "scan.nii")
    write_labels(tmp_path / "mask.nii", np.ones((4, 4, 4), int), read_volume(tmp_path / "scan.nii"))
    assert isinstance(nib.load(tmp_path / "mask.nii"), nib.Nifti2Image)


def table(path):
    extensions = nib.load(path).header.extensions
    assert [extension.get_code() for extension in extensions] == [30]
    root = ElementTree.fromstring(extensions[0].content.rstrip(b"\0"))
    assert root.tag == "CaretExtension"
    assert root.findtext("VolumeInformation/VolumeType") == "Label"
    return root.findall("VolumeInformation/LabelTable/Label")


def test_names_are_stored_where_viewers_look_and_nothing_of_the_patient(scan, tmp_path):
    write_labels(tmp_path / "mask.nii.gz", np.zeros((7, 6, 5), int), read_volume(scan), NAMES)
    labels = table(tmp_path / "mask.nii.gz")
    assert {int(label.get("Key")): label.text for label in labels} == NAMES
    assert [label.get("Alpha") for label in labels] == ["0", "1", "1"]


def test_no_names_no_table(scan, tmp_path):
    write_labels(tmp_path / "mask.nii.gz", np.zeros((7, 6, 5), int), read_volume(scan))
    assert list(nib.load(tmp_path / "mask.nii.gz").header.extensions) == []


@settings(max_examples=40)
@given(st.dictionaries(st.integers(0, 70_000), st.text(max_size=8), max_size=3))
def test_any_name_is_valid_xml_and_reads_back(names):
    labels = ElementTree.fromstring(label_table_xml(names)).findall(".//Label")
    found = {int(label.get("Key")): label.text or "" for label in labels}
    assert found == {value: "".join(c if c.isprintable() else " " for c in n) for value, n in names.items()}


def test_first_twenty_colours_are_told_apart():
    labels = ElementTree.fromstring(label_table_xml({n: str(n) for n in range(1, 21)})).findall(".//Label")
    colours = np.array([[float(label.get(key)) for key in ("Red", "Green", "Blue")] for label in labels])
    distances = np.abs(colours[:, None] - colours[None]).max(axis=-1)[np.triu_indices(20, 1)]
    assert distances.min() > 0.08


def test_image_in_memory_is_the_one_that_is_written(scan, tmp_path, rng):
    volume = read_volume(scan)
    labels = rng.integers(0, 3, volume.shape)
    image = labels_to_nibabel(labels, volume, NAMES)
    write_labels(tmp_path / "a.nii", labels, volume, NAMES)
    nib.save(image, tmp_path / "b.nii")
    assert (tmp_path / "a.nii").read_bytes() == (tmp_path / "b.nii").read_bytes()


def test_writing_twice_gives_the_same_bytes(scan, tmp_path):
    volume = read_volume(scan)
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, np.ones(volume.shape, int), volume, NAMES)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_header_of_the_volume_is_not_changed_by_writing(scan, tmp_path):
    volume = read_volume(scan)
    before = volume.header.binaryblock
    write_labels(tmp_path / "mask.nii.gz", np.ones(volume.shape, int), volume, NAMES)
    write_volume(tmp_path / "scores.nii.gz", np.ones((2, *volume.shape)), volume)
    assert volume.header.binaryblock == before
    assert len(volume.header.extensions) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_as_they_were_written(scan, tmp_path, rng, channels):
    volume = read_volume(scan)
    data = rng.normal(0, 1e4, (channels, *volume.shape)).astype(np.float32)
    write_volume(tmp_path / "scores.nii.gz", data, volume)
    back = read_volume(tmp_path / "scores.nii.gz", channels=channels)
    assert np.array_equal(back.data, data)
    assert np.array_equal(back.geometry.affine, volume.geometry.affine)
    assert nib.load(tmp_path / "scores.nii.gz").get_data_dtype() == np.float32


def test_image_without_channel_axis_is_written_too(scan, tmp_path, rng):
    volume = read_volume(scan)
    write_volume(tmp_path / "x.nii", rng.random(volume.shape), volume)
    assert read_volume(tmp_path / "x.nii").channels == 1


def test_volume_made_of_an_array_can_be_a_grid(tmp_path):
    volume = volume_from_array(np.zeros((4, 5, 6)), (1, 2, 3))
    write_labels(tmp_path / "mask.nii.gz", np.ones((4, 5, 6), int), volume)
    mask = nib.load(tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.affine, np.diag([1, 2, 3, 1]))
    assert mask.header.get_xyzt_units()[0] == "mm"


def test_other_shapes_are_refused(scan, tmp_path):
    volume = read_volume(scan)
    with pytest.raises(
        GeometryError, match=r"its shape \(7, 6, 5\) .* got \(7, 5, 6\); .*Preprocessor\.restore"
    ):
        write_labels(tmp_path / "mask.nii.gz", np.zeros((7, 5, 6), int), volume)
    with pytest.raises(GeometryError, match=r"got \(7, 5, 6\)"):
        write_volume(tmp_path / "mask.nii.gz", np.zeros((1, 7, 5, 6)), volume)
    assert not (tmp_path / "mask.nii.gz").exists()


def test_what_is_no_label_is_refused(scan, tmp_path):
    volume = read_volume(scan)
    for values in (np.full(volume.shape, 0.5), np.full(volume.shape, -1), np.full(volume.shape, np.nan)):
        with pytest.raises(BadImageError, match="expected"):
            write_labels(tmp_path / "mask.nii.gz", values, volume)


def test_other_suffixes_are_refused(scan, tmp_path):
    with pytest.raises(BadImageError, match=r"ending in \.nii\.gz, \.nii, .*; add one"):
        write_labels(tmp_path / "mask", np.zeros((7, 6, 5), int), read_volume(scan))


def test_the_image_itself_is_never_replaced(scan):
    volume = read_volume(scan)
    with pytest.raises(ConfigError, match="the image itself, which would be lost"):
        write_labels(scan, np.zeros((7, 6, 5), int), volume)
    with pytest.raises(ConfigError, match="the image itself"):
        write_volume(scan.parent / "." / scan.name, np.zeros((1, 7, 6, 5)), volume)


def test_names_in_a_file_come_back(scan, tmp_path):
    scan = read_volume(scan)
    names = {0: "background", 1: "grey & <white>", 2: "außen"}
    write_labels(tmp_path / "a.nii.gz", np.ones(scan.shape, np.uint8), scan, names)
    assert label_names_in_header(read_header(tmp_path / "a.nii.gz").raw) == names
    write_labels(tmp_path / "b.nii.gz", np.ones(scan.shape, np.uint8), scan)
    assert label_names_in_header(read_header(tmp_path / "b.nii.gz").raw) == {}
