from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import disturb_weights, save_checkpoint, save_region_checkpoint, tiny_plan

from medconv.errors import ConfigError, DatasetError
from medconv.export import Statement, export_checkpoint, load_exported
from medconv.export.card import read_figures
from medconv.export.program import Freedom
from medconv.export.uses import use_of
from medconv.metrics import CaseRow, CaseTable, InstanceTable, measure_instances
from medconv.planning import InstanceTarget

ROW = CaseRow(
    "a", 1, "head", 0.8, 4.0, 1.5, False, False, 2.0, 2.1, 50.0, nsd=0.9, spacing_mm=(1.0, 1.0, 2.0)
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "runs/my_run/best.ckpt"
    copy.parent.mkdir(parents=True)
    return shutil.copy(trained, copy)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_folder_appears_with_a_card_and_a_report(checkpoint: Path, tmp_path: Path) -> None:
    CaseTable([ROW]).to_json(checkpoint.parent / "table.json")
    out = tmp_path / "deep/out"
    statement = Statement("Tiny | one", "CC0", "A. N. Other")
    exported = export_checkpoint(checkpoint, ["safetensors", "bundle", "bundle"], out, statement=statement)
    assert exported.is_within
    assert [parity.target for parity in exported.parities] == ["bundle", "safetensors"]
    assert files(out) == [
        "README.md",
        "bundle/LICENSE",
        "bundle/configs/inference.json",
        "bundle/configs/metadata.json",
        "bundle/docs/README.md",
        "bundle/models/model.ts",
        "model.json",
        "model.safetensors",
        "parity.json",
    ]
    report = json.loads((out / "parity.json").read_text())["exports"]
    assert [entry["is_within"] for entry in report] == [True, True]
    assert report[0]["shapes"] == [[1, 1, 12, 12, 8]]
    card = (out / "README.md").read_text()
    assert card == (out / "bundle/docs/README.md").read_text()
    for said in (
        "# Tiny | one",
        "Segments head and tail in T1.",
        "by A. N. Other",
        "| 2 | tail |",
        "mean 0 and standard deviation 1",
        "Resampled to 0.8 × 0.8 × 2.5 mm",
        "| head | 0.800 | 0.900 | 1.50 | 0 of 1 |",
        "`NiftiDataModule`: fold 0.",
        "no medical device",
        "## Licence\n\nCC0",
    ):
        assert said in card
    assert not list(tmp_path.rglob(".*tmp*"))


def test_without_a_table_the_card_says_that_nothing_is_known(checkpoint: Path, tmp_path: Path) -> None:
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert card.startswith("# my_run\n")
    assert "None: no table.json lay beside the checkpoint." in card
    assert "Nothing is known of its accuracy" in card
    assert "No licence was stated" in card


def test_outside_the_tolerance_only_the_report_is_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb_weights(monkeypatch)
    exported = export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out", tolerance=1e-4)
    assert not exported.is_within
    assert files(tmp_path / "out") == ["parity.json"]
    (entry,) = json.loads((tmp_path / "out/parity.json").read_text())["exports"]
    assert entry["max_abs_difference"] == pytest.approx(5e-4, rel=1e-2)
    assert entry["label_agreement"] == 1
    assert export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out", overwrite=True).is_within


def test_what_is_there_is_replaced_only_if_it_is_an_export(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_checkpoint(checkpoint, ["safetensors"], out)
    before = (out / "README.md").stat().st_mtime_ns
    with pytest.raises(
        ConfigError, match=r"out exists; name another folder with -o, or replace it with --overwrite"
    ):
        export_checkpoint(checkpoint, ["safetensors"], out)
    assert (out / "README.md").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match=r"holds no earlier export \(parity.json is missing\)"):
        export_checkpoint(checkpoint, ["safetensors"], checkpoint.parent, overwrite=True)
    assert checkpoint.exists()
    with pytest.raises(ConfigError, match=r"expected a folder, .* is a file"):
        export_checkpoint(checkpoint, ["safetensors"], checkpoint)
    (tmp_path / "empty").mkdir()
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "empty")


@pytest.mark.parametrize(
    ("targets", "tolerance", "message"),
    [
        (
            ["onx"],
            1e-3,
            r"no export target 'onx'; did you mean 'onnx'\? All: torch, onnx, bundle, safetensors",
        ),
        (["tensorflow"], 1e-3, r"no export target 'tensorflow'\. All:"),
        ([], 1e-3, "expected at least one target"),
        (["torch"], -1.0, r"expected a tolerance from 0, got -1\.0"),
        (["torch"], float("nan"), "expected a tolerance from 0, got nan"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(
    targets: list[str], tolerance: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        export_checkpoint(tmp_path / "nowhere.ckpt", targets, tmp_path / "out", tolerance=tolerance)
    assert not list(tmp_path.iterdir())


def test_a_table_that_cannot_be_read_is_named(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint.parent / "table.json").write_text("{}")
    with pytest.raises(
        DatasetError, match=r"table\.json: expected the table that medconv fit writes \(KeyError"
    ):
        read_figures(checkpoint)
    with pytest.raises(DatasetError, match="move the file away"):
        export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_objects_are_no_bundle_but_weights(tmp_path: Path) -> None:
    plan = tiny_plan(**InstanceTarget("boundary").plan_values())
    checkpoint = save_checkpoint(tmp_path / "run/best.ckpt", plan=plan)
    with pytest.raises(
        ConfigError, match="objects are told apart only after this network; export it with --to torch"
    ):
        export_checkpoint(checkpoint, ["bundle"], tmp_path / "bundle")
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "weights")
    assert load_exported(tmp_path / "weights", device="cpu").plan == plan
    card = (tmp_path / "weights/README.md").read_text()
    assert "inside and rim add up to the foreground, and inside alone is the height" in card


@pytest.mark.slow
def test_the_card_of_objects_says_how_they_are_told_apart_and_how_well(tmp_path: Path) -> None:
    plan = tiny_plan(unit="px", **InstanceTarget(levels=3, name="nucleus").plan_values())
    checkpoint = save_checkpoint(tmp_path / "run/best.ckpt", plan=plan)
    ref = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])
    table = InstanceTable([measure_instances("a", ref, ref), measure_instances("b", ref == 1, ref)])
    table.to_json(checkpoint.parent / "objects.json")
    CaseTable([ROW]).to_json(checkpoint.parent / "table.json")
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    for said in (
        "Tells single objects (nucleus) apart in T1.",
        "Masks of `medconv predict` hold one number an object",
        "its outputs are nucleus, nucleus from shell 2 and nucleus from shell 3.",
        "3. Pixels as they are, of any size.",
        "one logit a region",
        "objects start where the height is above 0.7 and grow downhill",
        "4 objects in 2 images that training kept aside; at an IoU of 0.5 1 were missed and 0 invented.",
        "| mean over images | 0.750 | 0.750 | 0.833 |",
        "| head | 0.800 | 0.900 | 1.50 | 0 of 1 |",
    ):
        assert said in card
    assert "the largest is the label" not in card
    assert " mm, linearly" not in card


def test_the_card_of_cells_speaks_of_micrometres(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(
        tmp_path / "run/best.ckpt", plan=tiny_plan(spacing_mm=(0.0005, 0.0005, 0.002))
    )
    cells = replace(ROW, hd95_mm=0.0015, nsd_tolerance_mm=0.001, spacing_mm=(0.0005, 0.0005, 0.002))
    CaseTable([cells]).to_json(checkpoint.parent / "table.json")
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert "3. Resampled to 0.5 × 0.5 × 2 µm, linearly." in card
    assert "| HD95 (µm) |" in card
    assert "| head | 0.800 | 0.900 | 1.50 | 0 of 1 |" in card
    assert "Tolerances of NSD: head 1 µm." in card
    assert " mm" not in card.split("Tolerances of NSD")[0]


def test_the_card_says_that_zeros_around_a_scan_are_cut_off_and_left_out(tmp_path: Path) -> None:
    cropped = save_checkpoint(tmp_path / "run/best.ckpt", plan=tiny_plan(crop_to_nonzero=True))
    export_checkpoint(cropped, ["safetensors"], tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "1. Axes turned to RAS; cut to the box around all voxels that are not 0 in at least one channel."
        in card
    )
    assert "T1: mean 0 and standard deviation 1 over all voxels.\n" in card
    masked = tiny_plan(crop_to_nonzero=True, masked_normalization=True)
    checkpoint = save_checkpoint(tmp_path / "run/masked.ckpt", plan=masked)
    export_checkpoint(checkpoint, ["safetensors"], tmp_path / "masked")
    card = (tmp_path / "masked/README.md").read_text()
    assert (
        "T1: mean 0 and standard deviation 1 over all voxels within the mask (voxels that are not 0 in at least one "
        "channel, and what they enclose); 0 outside.\n"
    ) in card


def test_the_folder_that_the_user_stands_in_is_written_and_stays_the_same(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    before = out.stat().st_ino
    assert export_checkpoint(checkpoint, ["safetensors"], ".").is_within
    assert out.stat().st_ino == before  # else the user's shell would stand in a folder that is gone
    assert "model.json" in files(Path())
    disturb_weights(monkeypatch)
    exported = export_checkpoint(checkpoint, ["safetensors"], ".", tolerance=1e-4, overwrite=True)
    assert exported.report == tmp_path / "out.parity.json"
    assert exported.report.is_file()


def test_a_graph_of_one_size_is_shown_with_the_patches_that_it_takes() -> None:
    plan = tiny_plan(patch_size=(12, 12, 9))
    for target in ("torch", "onnx"):
        assert "(1, 1, 12, 12, 9)" in use_of(target, plan, Freedom(False, None, (12, 12, 9)))
        # what is divided by 2 inside takes no patch of 9
        assert "(B, 1, 12, 12, 10)" in use_of(target, plan, Freedom(True, (2, 2, 2), (12, 12, 10)))


def test_regions_are_no_bundle_but_weights(tmp_path: Path) -> None:
    checkpoint = save_region_checkpoint(tmp_path / "run/best.ckpt")
    with pytest.raises(
        ConfigError,
        match=r"answers for the regions whole, end, which overlap; export it with --to torch, onnx",
    ):
        export_checkpoint(checkpoint, ["safetensors", "bundle"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out").is_within
    card = (tmp_path / "out/README.md").read_text()
    assert "where its logit is above 0, and later ones overwrite earlier ones: whole and end." in card


def test_a_failing_export_leaves_the_earlier_one_and_its_report_lies_beside(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export_checkpoint(checkpoint, ["safetensors"], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    disturb_weights(monkeypatch)
    exported = export_checkpoint(checkpoint, ["safetensors"], out, tolerance=1e-4, overwrite=True)
    assert not exported.is_within
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert exported.report == tmp_path / "out.parity.json"
    (entry,) = json.loads(exported.report.read_text())["exports"]
    assert entry["is_within"] is False


@pytest.mark.slow
@pytest.mark.parametrize("lists", [True, False])
def test_only_files_of_the_earlier_export_are_replaced(checkpoint: Path, tmp_path: Path, lists: bool) -> None:
    out = tmp_path / "out"
    export_checkpoint(checkpoint, ["bundle"], out)
    report = json.loads((out / "parity.json").read_text())
    assert report["files"] == files(out)
    if not lists:  # as earlier versions wrote it
        del report["files"]
        (out / "parity.json").write_text(json.dumps(report))
    (out / "bundle/notes.txt").write_text("mine")
    (out / "model.txt").write_text("mine")
    export_checkpoint(checkpoint, ["safetensors"], out, overwrite=True)
    own = ["README.md", "model.json", "model.safetensors", "parity.json"]
    assert files(out) == sorted([*own, "bundle/notes.txt", "model.txt"])
    assert not (out / "bundle/models").exists()
    if lists:
        (out / "plan.yaml").write_text("mine")
        with pytest.raises(
            ConfigError, match=r"plan\.yaml belongs to no earlier export, so it is not replaced"
        ):
            export_checkpoint(checkpoint, ["torch"], out, overwrite=True)
        assert (out / "model.json").is_file()


def test_a_report_that_leads_out_of_the_folder_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for files_told in ('["../runs/my_run/best.ckpt"]', '["/x"]', "3"):
        out.mkdir(exist_ok=True)
        (out / "parity.json").write_text(f'{{"files": {files_told}}}')
        with pytest.raises(ConfigError, match=r"parity\.json: expected the report of an export, which lists"):
            export_checkpoint(checkpoint, ["safetensors"], out, overwrite=True)
    assert checkpoint.is_file()


@pytest.mark.slow
def test_a_link_stays_and_the_folder_behind_it_is_written(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/export")
    for overwrite in (False, True):
        assert export_checkpoint(checkpoint, ["safetensors"], tmp_path / "out", overwrite=overwrite).is_within
        assert (tmp_path / "out").is_symlink()
        assert "model.json" in files(tmp_path / "disk/export")
