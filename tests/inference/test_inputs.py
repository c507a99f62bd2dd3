from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_dicom import save_series

from medconv.errors import ConfigError
from medconv.inference.inputs import InputCase, collect_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.nii.gz", "a.nii", "c.NII.GZ", "._a.nii", "notes.txt", "deep/d.nii.gz"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def ids(cases: list[InputCase]) -> list[str]:
    return [case.case_id for case in cases]


def test_a_folder_gives_its_volumes_and_nothing_else(folder: Path) -> None:
    cases = collect_inputs([folder])
    assert ids(cases) == ["a", "b", "c"]
    assert [case.suffix for case in cases] == [".nii", ".nii.gz", ".NII.GZ"]


def test_patterns_and_files_are_taken_once_in_the_order_given(folder: Path) -> None:
    assert ids(collect_inputs([folder / "b.nii.gz", f"{folder}/*.nii*", folder])) == ["b", "a", "c"]
    assert ids(collect_inputs([f"{folder}/**/*.nii.gz"])) == ["b", "d"]


def test_a_file_with_pattern_characters_in_its_name_is_that_file(tmp_path: Path) -> None:
    odd = tmp_path / "scan[1].nii.gz"
    odd.touch()
    assert ids(collect_inputs([odd])) == ["scan[1]"]


def test_a_named_file_of_another_type_is_kept_so_that_its_failure_is_told(folder: Path) -> None:
    (case,) = collect_inputs([folder / "notes.txt"])
    assert (case.case_id, case.suffix) == ("notes.txt", ".nii.gz")


def test_a_dead_link_is_kept_so_that_its_failure_is_told(tmp_path: Path) -> None:
    (tmp_path / "gone.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    assert ids(collect_inputs([tmp_path])) == ["gone"]


def test_everything_that_leads_nowhere_is_listed_at_once(folder: Path) -> None:
    empty = folder / "empty"
    empty.mkdir()
    text = (
        r"expected \.nii\.gz, .*, \.bmp files or DICOM series in the folder .*empty, found none; "
        r"no \.nii\.gz, .* file and no DICOM series matches the pattern .*x\*; no file or folder gone\.nii; relative"
    )
    with pytest.raises(ConfigError, match=text):
        collect_inputs([empty, f"{folder}/x*", folder / "a.nii", "gone.nii"])


def test_channel_files_are_one_case_where_the_network_has_channels(tmp_path: Path) -> None:
    for name in ("p_0001.nii.gz", "p_0000.nii.gz", "q_0000.nii.gz", "q_0001.nii.gz", "whole.nii.gz"):
        (tmp_path / name).touch()
    cases = {case.case_id: case for case in collect_inputs([tmp_path], channels=2)}
    assert {name: [p.name for p in case.paths] for name, case in cases.items()} == {
        "whole": ["whole.nii.gz"],
        "p": ["p_0000.nii.gz", "p_0001.nii.gz"],
        "q": ["q_0000.nii.gz", "q_0001.nii.gz"],
    }
    assert not any(case.problem for case in cases.values())


def test_the_only_channel_needs_no_number_in_the_name_of_its_case(tmp_path: Path) -> None:
    for name in ("p_0000.nii.gz", "q_0000.nii", "r_0001.nii.gz"):
        (tmp_path / name).touch()
    assert ids(collect_inputs([tmp_path])) == ["p", "q", "r_0001"]


@pytest.mark.parametrize("other", ["p.nii.gz", "p_0001.nii.gz"])
def test_a_number_stays_where_it_tells_inputs_apart(tmp_path: Path, other: str) -> None:
    for name in ("p_0000.nii.gz", other):
        (tmp_path / name).touch()
    assert sorted(ids(collect_inputs([tmp_path]))) == sorted(["p_0000", other.split(".")[0]])


@pytest.mark.parametrize(
    ("numbers", "got"), [((0,), "p_0000"), ((0, 2), "p_0000, p_0002"), ((0, 1, 2), "p_0000, p_0001, p_0002")]
)
def test_channels_that_are_not_the_expected_ones_are_a_problem_of_this_case_only(
    tmp_path: Path, numbers: tuple[int, ...], got: str
) -> None:
    for number in numbers:
        (tmp_path / f"p_{number:04d}.nii.gz").touch()
    for number in (0, 1):
        (tmp_path / f"q_{number:04d}.nii.gz").touch()
    bad, good = collect_inputs([tmp_path], channels=2)
    assert (
        bad.problem == f"{tmp_path}: expected the channels p_0000, p_0001, got {got}; add or rename the files"
    )
    assert (good.case_id, good.problem) == ("q", "")


def test_same_names_in_two_folders_are_two_cases(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for number in (0, 1):
            (tmp_path / folder / f"p_{number:04d}.nii.gz").touch()
    cases = collect_inputs([tmp_path / "one", tmp_path / "two"], channels=2)
    assert ids(cases) == ["p", "p"]
    assert [case.paths[0].parent.name for case in cases] == ["one", "two"]


def test_a_folder_of_slices_is_one_case_and_a_folder_of_series_is_many(tmp_path: Path) -> None:
    one, two = save_series(tmp_path / "study" / "one"), save_series(tmp_path / "study" / "two.v1", slices=2)
    (tmp_path / "study" / "empty").mkdir()
    (tmp_path / "study" / "notes.txt").touch()
    assert [(c.case_id, c.paths, c.suffix) for c in collect_inputs([one])] == [("one", (one,), ".nii.gz")]
    assert [c.paths for c in collect_inputs([tmp_path / "study"])] == [(one,), (two,)]
    assert ids(collect_inputs([f"{tmp_path}/study/*"])) == ["one", "two.v1"]


def test_a_slice_stands_for_its_series(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    slices = sorted(folder.iterdir())
    for typed in ([slices[2]], slices, [f"{folder}/*.dcm"], [f"{tmp_path}/**"]):
        assert [case.paths for case in collect_inputs(typed)] == [(folder,)]


def test_the_folder_of_a_series_has_a_name_even_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(save_series(tmp_path / "ct"))
    assert ids(collect_inputs(["."])) == ["ct"]


def test_slices_and_volumes_in_one_folder_are_not_guessed_apart(tmp_path: Path) -> None:
    folder = save_series(tmp_path / "ct")
    (folder / "mask.nii.gz").touch()
    with pytest.raises(
        ConfigError, match=r"holds DICOM slices and volumes \(mask\.nii\.gz\), so it is not clear"
    ):
        collect_inputs([folder])


def test_volumes_beside_series_are_what_a_folder_means(tmp_path: Path) -> None:
    save_series(tmp_path / "ct")
    (tmp_path / "a.nrrd").touch()
    (case,) = collect_inputs([tmp_path])
    assert (case.case_id, case.suffix) == ("a", ".nii.gz")


def test_a_table_names_cases_and_their_channels(tmp_path: Path) -> None:
    for name in ("x.nii", "y.nii.gz", "z.mha"):
        (tmp_path / name).touch()
    series = save_series(tmp_path / "ct")
    table = tmp_path / "list.csv"
    table.write_text("case_id,image_0,image_1\npat1,x.nii,y.nii.gz\npat2,ct,z.mha\n")
    cases = {case.case_id: case.paths for case in collect_inputs([table], channels=2)}
    assert cases == {
        "pat1": (tmp_path / "x.nii", tmp_path / "y.nii.gz"),
        "pat2": (series, tmp_path / "z.mha"),
    }
    table.write_text("image\nx.nii\ngone.nii\n")
    with pytest.raises(ConfigError, match=r"1 problem\(s\) .*\n  - case gone: no such file: .*gone\.nii"):
        collect_inputs([table])


@pytest.mark.parametrize("where", ["imagesTs", "."])
def test_channels_in_another_order_are_refused_where_files_say_so(tmp_path: Path, where: str) -> None:
    images = tmp_path / "imagesTs"
    images.mkdir()
    for number in (0, 1):
        (images / f"p_{number:04d}.nii.gz").touch()
    description = {"channel_names": {"0": "FLAIR", "1": "T1"}, "labels": {"background": 0, "x": 1}}
    (tmp_path / where / "dataset.json").write_text(json.dumps(description))
    assert ids(collect_inputs([images], 2, ("flair", "T1"))) == ["p"]
    assert ids(collect_inputs([images], 2, ("a", "b"))) == ["p"]
    text = r"dataset\.json: its channels are FLAIR, T1, but the network was trained on T1, FLAIR; give"
    with pytest.raises(ConfigError, match=text):
        collect_inputs([images], 2, ("T1", "FLAIR"))
    (tmp_path / where / "dataset.json").write_text("{}")
    assert ids(collect_inputs([images], 2, ("T1", "FLAIR"))) == ["p"]


def test_a_table_with_channels_in_another_order_is_refused(tmp_path: Path) -> None:
    for name in ("x.nii", "y.nii"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text("image_0,image_1\nx.nii,y.nii\n")
    (tmp_path / "list.json").write_text(
        json.dumps({"channel_names": {"0": "T2", "1": "T1"}, "labels": {"background": 0, "a": 1}})
    )
    with pytest.raises(
        ConfigError, match=r"list\.csv: its channels are T2, T1, but the network was trained on T1, T2"
    ):
        collect_inputs([tmp_path / "list.csv"], 2, ("T1", "T2"))
