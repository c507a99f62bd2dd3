from __future__ import annotations

from pathlib import Path

import pytest

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
        r"expected \.nii\.gz or \.nii files in the folder .*empty, found none; "
        r"no \.nii\.gz or \.nii file matches the pattern .*x\*; no file or folder gone\.nii; relative"
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
