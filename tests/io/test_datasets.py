import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given
from hypothesis import strategies as st
from tiny_dicom import save_series

from medconv.errors import DatasetError, NotADatasetError
from medconv.io import discover, read_image, read_labels, scan_label_names
from medconv.io.cases import Case, check_cases

LABELS = {"background": 0, "head": 1, "tail": 2}


@pytest.fixture
def decathlon(tiny_dataset, tmp_path):
    """A copy of the tiny dataset that a test may spoil, and its description."""
    root = tmp_path / "dataset"
    shutil.copytree(tiny_dataset, root)
    return root, json.loads((root / "dataset.json").read_text())


@pytest.fixture
def nnunet(tmp_path, tiny_nifti):
    """Two cases with two channels each."""
    root = tmp_path / "Dataset001_Tiny"
    for case in ("case_a", "case_b"):
        for channel in range(2):
            tiny_nifti(f"{root.name}/imagesTr/{case}_{channel:04d}.nii.gz")
        tiny_nifti(f"{root.name}/labelsTr/{case}.nii.gz", np.zeros((9, 8, 7), np.uint8))
    describe(root, {"channel_names": {"0": "T1", "1": "T2"}, "labels": LABELS, "file_ending": ".nii.gz"})
    return root


def describe(root, description):
    (root / "dataset.json").write_text(json.dumps(description))


def problems_of(path):
    with pytest.raises(DatasetError, match="problem") as error:
        discover(path)
    return str(error.value)


# ---------------------------------------------------------------- Medical Segmentation Decathlon


def test_decathlon_is_discovered(tiny_dataset):
    dataset = discover(tiny_dataset)
    assert [case.case_id for case in dataset.cases] == ["tiny_000", "tiny_001", "tiny_002", "tiny_003"]
    assert dataset.channel_names == ("MRI",)
    assert dataset.label_names == {0: "background", 1: "head", 2: "tail"}
    assert dataset == discover(tiny_dataset / "dataset.json")
    for case in dataset.cases:
        assert case.group == case.case_id
        image = read_image(case.images, channels=1)
        assert read_labels(case.label, allowed=dataset.label_names, like=image).data.max() == 2


def test_both_spellings_of_labels_and_channels_are_understood(decathlon):
    root, description = decathlon
    expected = discover(root)
    del description["modality"]
    describe(root, {**description, "labels": LABELS, "channel_names": {"0": "MRI"}})
    assert discover(root) == expected


def test_left_overs_of_systems_do_not_matter(nnunet):
    for name in ("._case_a_0000.nii.gz", ".DS_Store", ".case_a.tmp0a1b2c3d.nii.gz"):
        (nnunet / "imagesTr" / name).write_bytes(b"")
        (nnunet / "labelsTr" / name).write_bytes(b"")
    assert len(discover(nnunet).cases) == 2


def test_every_problem_is_in_the_one_message(decathlon):
    root, description = decathlon
    (root / "imagesTr" / "tiny_000.nii.gz").unlink()
    (root / "labelsTr" / "tiny_001.nii.gz").unlink()
    pairs = description["training"]
    pairs.append(pairs[2])
    pairs.append({"image": "./imagesTr/tiny_003.nii.gz"})
    pairs.append("imagesTr/tiny_003.nii.gz")
    describe(root, {**description, "labels": {"0": "background", "2": "tail"}})
    message = problems_of(root)
    assert f"{root}: 6 problem(s)" in message
    for expected in (
        "without gaps, got [0, 2]",
        "training[5]: expected {'image': path, 'label': path}, got {'image'",
        "training[6]: expected {'image': path, 'label': path}, got 'imagesTr",
        "case tiny_000: no such file",
        "case tiny_001: no such file",
        "case id 'tiny_002' occurs 2 times",
    ):
        assert expected in message


@pytest.mark.parametrize(
    "entry",
    ["/etc/passwd.nii", "../outside.nii.gz", "imagesTr/../../outside.nii.gz", "C:\\x.nii", "a\0b.nii"],
)
def test_paths_that_leave_the_folder_are_refused(decathlon, entry):
    root, description = decathlon
    (root.parent / "outside.nii.gz").write_bytes(b"")
    description["training"][0]["image"] = entry
    describe(root, description)
    message = problems_of(root)
    assert "training[0] image" in message
    assert "is not relative to" in message or "leads out of the dataset folder" in message


def test_links_that_lead_out_of_the_folder_are_refused(decathlon, nnunet):
    root, _ = decathlon
    outside = root.parent / "outside.nii.gz"
    shutil.move(root / "imagesTr" / "tiny_000.nii.gz", outside)
    (root / "imagesTr" / "tiny_000.nii.gz").symlink_to(outside)
    assert "leads out of the dataset folder; copy the file into it" in problems_of(root)
    (nnunet / "imagesTr" / "case_c_0000.nii.gz").symlink_to(outside)
    assert "case_c_0000.nii.gz' leads out" in problems_of(nnunet)


def test_links_that_go_round_in_a_ring_are_refused(decathlon):
    root, _ = decathlon
    link = root / "imagesTr" / "tiny_000.nii.gz"
    link.unlink()
    link.symlink_to(link.name)
    message = problems_of(root)
    assert "leads out of the dataset folder" in message or "no such file" in message


def test_links_within_the_folder_are_followed(decathlon):
    root, _ = decathlon
    shutil.move(root / "imagesTr" / "tiny_000.nii.gz", root / "moved.nii.gz")
    (root / "imagesTr" / "tiny_000.nii.gz").symlink_to(root / "moved.nii.gz")
    assert len(discover(root).cases) == 4


def test_a_folder_that_is_itself_a_link_is_fine(tiny_dataset, tmp_path):
    (tmp_path / "link").symlink_to(tiny_dataset)
    assert len(discover(tmp_path / "link").cases) == 4


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("labels", None, "expected 'labels' like"),
        ("labels", {"0": "background", "1": "a", "01": "b"}, "without gaps"),
        ("labels", {"background": 0, "a": 1, "b": 1}, "two labels share a value"),
        ("labels", {"background": 0, "whole": [1, 2]}, "set regions_class_order"),
        ("labels", {"head": 0, "tail": 1}, "label 0 to be called 'background', got 'head'"),
        ("labels", {"background": 0, "a": "one"}, "expected whole numbers in 'labels'"),
        ("labels", {"a": {}}, "expected whole numbers in 'labels', got {'a': {}}"),
        ("modality", {}, "expected 'modality' like {'0': 'MRI'}"),
        ("modality", {"1": "MRI"}, "'modality' numbered 0 to 0 without gaps, got [1]"),
        ("training", {}, "expected a list of pairs in 'training', got dict"),
        ("training", [], "no cases found"),
    ],
)
def test_descriptions_that_contradict_themselves_are_refused(decathlon, key, value, what):
    root, description = decathlon
    describe(root, {**description, key: value})
    assert what in problems_of(root)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100_000])
def test_a_description_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json: expected a JSON"):
        discover(tmp_path)


def test_a_folder_that_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(
        DatasetError, match=r"expected a dataset: a folder with a dataset\.json .*; found none of them"
    ):
        discover(tmp_path)
    for name in ("nowhere", "nowhere.csv"):
        with pytest.raises(
            NotADatasetError, match=rf"no file or folder .*/{name}; expected a dataset: .*group\]$"
        ):
            discover(tmp_path / name)


def test_a_relative_path_that_leads_nowhere_says_where_it_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotADatasetError, match=rf"nowhere; expected .*, relative paths start at {tmp_path}$"):
        discover("nowhere")


def test_one_file_in_two_cases_is_a_problem(decathlon):
    root, description = decathlon
    description["training"][0]["label"] = description["training"][1]["label"]
    describe(root, description)
    assert "case tiny_001: tiny_001.nii.gz is also used by case tiny_000" in problems_of(root)


def test_one_file_twice_in_a_case_is_a_problem(decathlon, table):
    root, description = decathlon
    description["training"][0]["label"] = description["training"][0]["image"]
    describe(root, description)
    assert "case tiny_000: tiny_000.nii.gz is given twice" in problems_of(root)
    path = table("image_0,image_1,label", "scans/a0.nii.gz,scans/../scans/a0.nii.gz,masks/a.nii.gz")
    assert "case a0: a0.nii.gz is given twice" in problems_of(path)


@given(st.text(min_size=1, max_size=140))
def test_only_plain_case_ids_pass(case_id):
    problems = []
    plain = all(c.isascii() and (c.isalnum() or c in "._-") for c in case_id) and len(case_id) <= 128
    try:
        check_cases("x", [Case(case_id, (), None, case_id)], problems)
    except DatasetError:
        assert not plain or set(case_id) == {"."}
    else:
        assert plain


# ---------------------------------------------------------------- nnU-Net


def test_nnunet_raw_is_discovered(nnunet):
    dataset = discover(nnunet)
    assert [case.case_id for case in dataset.cases] == ["case_a", "case_b"]
    assert [path.name for path in dataset.cases[0].images] == ["case_a_0000.nii.gz", "case_a_0001.nii.gz"]
    assert dataset.channel_names == ("T1", "T2")
    assert dataset.label_names == {0: "background", 1: "head", 2: "tail"}
    assert read_image(dataset.cases[0].images, channels=2).channels == 2


def test_missing_partners_and_channels_are_all_listed(nnunet):
    (nnunet / "imagesTr" / "case_a_0001.nii.gz").unlink()
    (nnunet / "imagesTr" / "case_d_0000.nii.gz").write_bytes(b"")
    (nnunet / "imagesTr" / "no_number.nii.gz").write_bytes(b"")
    (nnunet / "imagesTr" / "notes.txt").write_bytes(b"")
    (nnunet / "labelsTr" / "case_e.nii.gz").write_bytes(b"")
    message = problems_of(nnunet)
    for expected in (
        "case case_a: expected the channels [0, 1] (T1, T2), got [0]",
        "case case_d: image without label in labelsTr",
        "case case_e: label without image in imagesTr",
        "imagesTr/no_number.nii.gz: expected a name like CASE_0000.nii.gz",
        "imagesTr/notes.txt: expected a name ending in .nii.gz",
    ):
        assert expected in message


def test_missing_folders_are_named(tmp_path):
    describe(tmp_path, {"channel_names": {"0": "T1"}, "labels": LABELS, "file_ending": ".nii.gz"})
    message = problems_of(tmp_path)
    assert "no folder imagesTr" in message
    assert "no folder labelsTr" in message


def test_file_endings_and_keys_that_cannot_be_followed_are_refused(nnunet):
    description = json.loads((nnunet / "dataset.json").read_text())
    describe(nnunet, {**description, "file_ending": ".gif", "dataset": {}})
    message = problems_of(nnunet)
    assert "expected 'file_ending' .nii.gz, .nii, .nrrd, .nhdr, .mha, .mhd, .ome.tiff" in message
    assert "got '.gif'" in message
    assert "the key 'dataset'" in message


# ---------------------------------------------------------------- CSV


@pytest.fixture
def table(tmp_path, tiny_nifti):
    """A function that writes a CSV beside images a0, a1, b0, b1 and labels a, b."""
    for name in ("a0", "a1", "b0", "b1"):
        tiny_nifti(f"scans/{name}.nii.gz")
    for value, name in enumerate("ab", start=1):
        tiny_nifti(f"masks/{name}.nii.gz", np.full((9, 8, 7), 2 * value, np.uint8))

    def write(*lines):
        (tmp_path / "cohort.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "cohort.csv"

    return write


def test_csv_is_discovered(table, tmp_path):
    path = table(
        "image,label,group", "scans/b0.nii.gz,masks/b.nii.gz,p2", "scans/a0.nii.gz,masks/a.nii.gz,p1"
    )
    dataset = discover(path)
    assert [(case.case_id, case.group) for case in dataset.cases] == [("a0", "p1"), ("b0", "p2")]
    assert dataset.cases[0].label == tmp_path / "masks" / "a.nii.gz"
    assert dataset.channel_names == ("image",)
    assert dataset.label_names == {}
    assert scan_label_names(dataset) == {0: "background", **{n: f"label_{n}" for n in (1, 2, 3, 4)}}


def test_csv_with_channels_ids_and_names_beside_it(table, tmp_path):
    (tmp_path / "cohort.json").write_text(
        json.dumps({"channel_names": {"0": "T1", "1": "T2"}, "labels": LABELS})
    )
    path = table(
        "case_id,image_0,image_1,label",
        "one,scans/a0.nii.gz,scans/a1.nii.gz,masks/a.nii.gz",
        f"two,{tmp_path}/scans/b0.nii.gz,scans/b1.nii.gz,masks/b.nii.gz",
    )
    dataset = discover(path)
    assert [case.case_id for case in dataset.cases] == ["one", "two"]
    assert dataset.cases[0].group == "one"
    assert [path.name for path in dataset.cases[1].images] == ["b0.nii.gz", "b1.nii.gz"]
    assert dataset.channel_names == ("T1", "T2")
    assert dataset.label_names[2] == "tail"


def test_csv_without_labels_and_with_semicolons(table):
    dataset = discover(table("\ufeffimage;group", "scans/a0.nii.gz;p1", "scans/b0.nii.gz;p1"))
    assert [case.label for case in dataset.cases] == [None, None]
    assert {case.group for case in dataset.cases} == {"p1"}


def test_every_problem_of_a_csv_is_listed(table):
    path = table(
        "image,label",
        "scans/a0.nii.gz,masks/a.nii.gz",
        "scans/a0.nii.gz,masks/a.nii.gz",
        "scans/none.nii.gz,masks/b.nii.gz",
        "scans/b0.nii.gz,",
        "scans/b1.nii.gz,masks/b.nii.gz,extra",
        "scans/b 1.gif,masks/b.nii.gz",
    )
    message = problems_of(path)
    for expected in (
        "case id 'a0' occurs 2 times",
        "case none: no such file",
        "line 5: nothing in label",
        "line 6: more fields than columns",
        "case id 'b 1.gif': use 1 to 128",
        "b 1.gif does not end in .nii.gz, .nii",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("scan,label", "expected a column image, or image_0"),
        ("image_1,label", "expected a column image, or image_0"),
        ("image_0,image_2,label", "without gaps"),
        ("image,labels", "unknown column 'labels'"),
        ("image,image_0,label", "unknown column 'image_0'"),
    ],
)
def test_unknown_columns_are_refused(table, header, what):
    assert what in problems_of(table(header, "scans/a0.nii.gz,masks/a.nii.gz"))


def test_csv_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "none.csv").mkdir()
    with pytest.raises(DatasetError, match="expected a CSV file, cannot read it"):
        discover(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00image")
    with pytest.raises(DatasetError, match="expected a CSV file, cannot read it"):
        discover(tmp_path / "bytes.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "expected a column image" in problems_of(tmp_path / "empty.csv")


def test_a_csv_may_name_dicom_series_and_other_formats(table, tmp_path):
    series = save_series(tmp_path / "scans" / "ct")
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "scans" / "b0.nii.gz")), str(tmp_path / "scans" / "b.nrrd"))
    path = table("image,label", "scans/ct,masks/a.nii.gz", "scans/b.nrrd,masks/b.nii.gz")
    assert {case.case_id: case.images for case in discover(path).cases} == {
        "ct": (series,),
        "b": (tmp_path / "scans" / "b.nrrd",),
    }
    (tmp_path / "scans" / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"case empty: empty does not end in \.nii\.gz, .*, \.mhd"):
        discover(table("image,label", "scans/empty,masks/a.nii.gz"))


# ---------------------------------------------------------------- problems that are tolerated


def test_what_is_wrong_is_told_and_the_rest_is_there(decathlon, nnunet, table):
    root, description = decathlon
    (root / "imagesTr" / "tiny_001.nii.gz").unlink()
    describe(
        root, description | {"training": [*description["training"], description["training"][0], {"image": 3}]}
    )
    (nnunet / "imagesTr" / "case_a_0001.nii.gz").unlink()
    rows = table("image,label", "scans/a0.nii.gz,masks/a.nii.gz", "scans/no.nii.gz,masks/b.nii.gz", ",x")
    for path, cases, count in (
        (root, ["tiny_000", "tiny_002", "tiny_003"], 3),
        (nnunet, ["case_b"], 1),
        (rows, ["a0"], 2),
    ):
        told: list[str] = []
        found = discover(path, told)
        assert [case.case_id for case in found.cases] == cases
        assert len(told) >= count
