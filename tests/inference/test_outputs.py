from __future__ import annotations

from pathlib import Path

import pytest

from medconv.errors import ConfigError
from medconv.inference.inputs import InputCase
from medconv.inference.outputs import plan_outputs


def cases(*paths: str) -> list[InputCase]:
    return [InputCase(Path(path).name.split(".")[0], (Path(path),)) for path in paths]


def test_masks_in_a_folder_are_called_like_their_inputs(tmp_path: Path) -> None:
    planned = plan_outputs(cases("in/a.nii.gz", "in/b.nii"), tmp_path / "new" / "masks")
    assert planned == [tmp_path / "new" / "masks" / name for name in ("a.nii.gz", "b.nii")]


def test_one_input_may_name_its_mask() -> None:
    assert plan_outputs(cases("in/a.nii"), "m.nii.gz") == [Path("m.nii.gz")]


def test_a_folder_with_a_volumes_name_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "odd.nii.gz").mkdir()
    assert plan_outputs(cases("in/a.nii"), tmp_path / "odd.nii.gz") == [tmp_path / "odd.nii.gz" / "a.nii"]


def test_a_channel_case_is_called_by_its_case() -> None:
    case = InputCase("p", (Path("in/p_0000.nii.gz"), Path("in/p_0001.nii.gz")))
    assert plan_outputs([case], "masks") == [Path("masks/p.nii.gz")]


def test_one_file_for_several_cases_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"expected a folder for the masks of 2 cases, got the file m\.nii\.gz"
    ):
        plan_outputs(cases("a.nii", "b.nii"), "m.nii.gz")


def test_a_file_of_another_type_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "m.txt").touch()
    with pytest.raises(
        ConfigError, match=r"or a file ending in \.nii\.gz, .*\.zarr; .*m\.txt is another file"
    ):
        plan_outputs(cases("a.nii"), tmp_path / "m.txt")


def test_two_inputs_with_one_name_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"one/a\.nii and two/a\.nii would both be written to .*a\.nii; rename"
    ):
        plan_outputs(cases("one/a.nii", "two/a.nii"), "masks")


@pytest.mark.parametrize("other", ["in/a.nii.gz", "in/a.nrrd", "in/A.nii"])
def test_two_cases_of_one_name_are_refused_though_their_masks_differ(other: str) -> None:
    with pytest.raises(ConfigError, match=rf"in/a\.nii and {other} are two cases called [aA]; rename one"):
        plan_outputs(cases("in/a.nii", other), "masks")


@pytest.mark.parametrize("output", ["in", "in/a.nii.gz", "in/../in"])
def test_an_input_is_never_replaced(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match=r"the mask .*a\.nii\.gz would replace an input; choose another"):
        plan_outputs(cases("in/a.nii.gz"), output)


def test_an_input_is_recognised_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.nii.gz").touch()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(ConfigError, match="would replace an input"):
        plan_outputs(cases(str(tmp_path / "in" / "a.nii.gz")), tmp_path / "link")


def test_masks_are_in_a_format_that_can_be_written(tmp_path: Path) -> None:
    planned = plan_outputs(cases("in/a.nrrd", "in/series", "in/b.png", "in/c.ome.tif", "in/d.zarr"), tmp_path)
    assert [path.name for path in planned] == ["a.nii.gz", "series.nii.gz", "b.tif", "c.ome.tif", "d.zarr"]
    assert plan_outputs(cases("in/b.png"), tmp_path / "mask.png") == [tmp_path / "mask.png"]
    with pytest.raises(
        ConfigError, match=r"expected -o to be a folder or to end in \.nii\.gz, .*, got \.mha"
    ):
        plan_outputs(cases("in/a.mha"), "mask.mha")


def test_a_mask_is_not_put_beside_the_picture_it_is_called_like(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"b\.tif would lie beside the image that it is called like, and be taken"
    ):
        plan_outputs(cases(str(tmp_path / "in" / "b.png")), tmp_path / "in")
    assert plan_outputs(cases(str(tmp_path / "in" / "b.png")), tmp_path / "in" / "b_mask.tif")


def test_a_mask_among_the_slices_of_its_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    with pytest.raises(
        ConfigError, match=r"ct\.nii\.gz would lie among the slices of an input; choose another"
    ):
        plan_outputs([InputCase("ct", (tmp_path / "ct",))], tmp_path / "ct")
