import numpy as np
import pytest

from medconv.errors import BadCasesError, ConfigError, DatasetError
from medconv.io import Dataset, discover, read_image, read_labels
from medconv.io.cases import Case
from medconv.planning import Fingerprint, Intensity, read_headers, read_intensities


def case(case_id, image, label=None, *more):
    return Case(case_id, (image, *more), label, case_id)


def dataset(root, *cases, channels=("MRI",)):
    return Dataset(root, cases, channels, {0: "background", 1: "head", 2: "tail"})


def test_shapes_and_spacings_are_told_in_one_orientation(tmp_path, tiny_nifti):
    ras, psr = np.diag([1.0, 2, 3, 1]), np.array([[0.0, 0, 1, 0], [-2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 1]])
    one = tiny_nifti("one.nii", np.zeros((4, 5, 6)), ras)
    other = tiny_nifti("other.nii", np.zeros((5, 6, 4)), psr)
    headers = read_headers(dataset(tmp_path, case("one", one), case("other", other)))
    found = Fingerprint.of_headers(headers, "RAS")
    assert found.shapes == ((4, 5, 6), (4, 5, 6))
    assert found.spacings_mm == ((1, 2, 3), (1, 2, 3))
    assert Fingerprint.of_headers(headers, "native").shapes == ((4, 5, 6), (5, 6, 4))


def test_headers_are_read_without_decoding_a_voxel(tiny_dataset, monkeypatch):
    monkeypatch.setattr("medconv.planning.voxels.read_image", None)
    monkeypatch.setattr("medconv.io.nifti.read.decode", None)
    found = discover(tiny_dataset)
    assert len(read_headers(found)) == 4
    assert read_intensities(found, ()) == (None,)


def test_every_case_that_does_not_fit_together_is_listed(tmp_path, tiny_nifti, oblique_affine):
    good = tiny_nifti("good.nii")
    small = tiny_nifti("small.nii", np.zeros((9, 8, 6), np.uint8))
    moved = tiny_nifti("moved.nii", affine=oblique_affine + np.eye(4, k=3) * 5)
    broken = tmp_path / "broken.nii"
    broken.write_bytes(b"x" * 500)
    two = tiny_nifti("two.nii", np.zeros((9, 8, 7, 2)))
    cases = [
        case("a", good, small),
        case("b", good, moved),
        case("c", broken),
        case("d", two),
        case("e", good, good),
    ]
    with pytest.raises(DatasetError, match="4 problem") as error:
        read_headers(dataset(tmp_path, *cases))
    message = str(error.value)
    for expected in (
        "case a: ",
        "got (9, 8, 6)",
        "case b: ",
        "voxels apart",
        "case c: ",
        "damaged or not NIfTI",
        "case d: expected 1 channel(s) as the dataset declares, got 2",
    ):
        assert expected in message
    assert "case e" not in message


def test_channels_may_lie_in_files_or_in_one_file(tmp_path, tiny_nifti):
    two = tiny_nifti("two.nii", np.zeros((9, 8, 7, 2)))
    one, other = tiny_nifti("t1.nii"), tiny_nifti("t2.nii")
    cases = [case("a", two), case("b", one, None, other)]
    assert len(read_headers(dataset(tmp_path, *cases, channels=("T1", "T2")))) == 2


def test_intensities_are_those_of_the_foreground(tiny_dataset):
    found = discover(tiny_dataset)
    (intensity,) = read_intensities(found, {0})
    values = []
    for one in found.cases:
        image = read_image(one.images)
        values.append(image.data[read_labels(one.label).data > 0])
    values = np.concatenate(values)
    assert intensity.mean == pytest.approx(values.mean())
    assert intensity.std == pytest.approx(values.std())
    assert (intensity.low, intensity.high) == pytest.approx(tuple(np.percentile(values, (0.5, 99.5))))


def test_large_cases_are_thinned_and_do_not_outweigh_small_ones(tmp_path, tiny_nifti):
    ones = np.ones((60, 60, 60), np.uint8)
    large = case("a", tiny_nifti("a.nii", 100.0 * ones), tiny_nifti("al.nii", ones))
    small = case(
        "b", tiny_nifti("b.nii", 200.0 * ones[:22, :22, :22]), tiny_nifti("bl.nii", ones[:22, :22, :22])
    )
    (intensity,) = read_intensities(dataset(tmp_path, large, small), {0})
    assert 140 < intensity.mean < 160


def test_intensities_without_foreground_are_refused(tmp_path, tiny_nifti):
    image, empty = tiny_nifti("a.nii"), tiny_nifti("l.nii", np.zeros((9, 8, 7), np.uint8))
    for label in (empty, None):
        with pytest.raises(ConfigError, match="expected foreground voxels"):
            read_intensities(dataset(tmp_path, case("a", image, label)), {0})


def test_undeclared_labels_are_refused_where_voxels_are_read(tmp_path, tiny_nifti):
    image, label = tiny_nifti("a.nii"), tiny_nifti("l.nii", np.full((9, 8, 7), 5, np.uint8))
    with pytest.raises(DatasetError, match=r"case a: .*only the labels \[0, 1, 2\], got also 5"):
        read_intensities(dataset(tmp_path, case("a", image, label)), {0})


def test_every_case_whose_voxels_cannot_be_used_is_listed(tmp_path, tiny_nifti):
    good, foreground = tiny_nifti("a.nii"), tiny_nifti("l.nii", np.ones((9, 8, 7), np.uint8))
    wrong, broken = tiny_nifti("w.nii", np.full((9, 8, 7), 5, np.uint8)), tiny_nifti("b.nii")
    broken.write_bytes(broken.read_bytes()[:-300])
    cases = [case("a", good, wrong), case("b", good, foreground), case("c", broken, foreground)]
    with pytest.raises(BadCasesError, match=r"(?s)2 problem\(s\).*case a: .*case c: ") as error:
        read_intensities(dataset(tmp_path, *cases), {0})
    assert sorted(error.value.problems) == ["a", "c"]


def test_summary_of_samples_is_exact():
    samples = [np.arange(100), np.arange(100, 1001)]
    assert Intensity.of_samples(samples) == Intensity(5.0, 995.0, 500.0, float(np.arange(1001).std()))
