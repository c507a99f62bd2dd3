"""A plan file behind a data module: taken, overruled, refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pytest

from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError, DatasetError
from medconv.io import discover
from medconv.planning import Proposal, Wishes, propose


@pytest.fixture
def root(tiny_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def plan_file(root: Path, tmp_path: Path) -> Path:
    wishes = Wishes(spacing_mm=(1.0, 1.0, 2.5), batch_size=3, normalization=("percentile",))
    propose(discover(root), wishes).save(tmp_path / "plan.yaml")
    return tmp_path / "plan.yaml"


def module(root: Path, **changes: object) -> NiftiDataModule:
    data = NiftiDataModule(root, **({"cache_dir": root.parent / "cache"} | changes))  # type: ignore[arg-type]
    data.prepare_plan()
    return data


def test_without_a_plan_the_rules_decide_patch_and_batch(root: Path) -> None:
    data = module(root)
    planned = propose(discover(root), voxels="needed")
    assert data.plan == planned.plan
    assert data.batch_size == planned.training.batch_size == 2
    assert (data.proposal, data.plan_file) == (planned, None)


def test_a_plan_file_decides_everything_that_is_left_open(root: Path, plan_file: Path) -> None:
    data = module(root, plan=plan_file)
    assert data.proposal == Proposal.load(plan_file)
    assert data.plan == data.proposal.plan
    assert (data.plan.spacing_mm, data.batch_size) == ((1.0, 1.0, 2.5), 3)


def test_a_patch_or_batch_of_ones_own_wins(root: Path, plan_file: Path) -> None:
    data = module(root, plan=plan_file, patch_size=[16, 16, 8], batch_size=5)
    assert (data.plan.patch_size, data.batch_size) == ((16, 16, 8), 5)
    assert data.plan.normalization == ("percentile",)
    assert data.proposal is not None
    assert data.proposal.reasons["plan.patch_size"] == "given by the user"


def test_the_same_spacing_is_no_contradiction_another_is(root: Path, plan_file: Path) -> None:
    assert module(root, plan=plan_file, spacing_mm=[1.0, 1.0, 2.5]).plan.spacing_mm == (1.0, 1.0, 2.5)
    with pytest.raises(
        ConfigError,
        match=r"spacing_mm=\[1, 1, 1\] contradicts .*plan.yaml, which says .*set spacing_mm to med",
    ):
        module(root, plan=plan_file, spacing_mm=[1, 1, 1])
    with pytest.raises(ConfigError, match=r"normalization=\['zscore'\] contradicts .*'percentile'"):
        module(root, plan=plan_file, normalization=["zscore"])


def test_settings_that_win_over_the_plan_are_told(
    root: Path, plan_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "medconv")
    module(root, plan=plan_file)
    assert "wins over" not in caplog.text
    module(root, plan=plan_file, patch_size=[16, 16, 8], batch_size=3)
    assert f"patch_size=[16, 16, 8] of the configuration wins over {plan_file}" in caplog.text
    assert f"batch_size=3 of the configuration wins over {plan_file}" in caplog.text
    assert "fit does not take them from here" in plan_file.read_text()


def test_a_plan_of_another_dataset_is_refused(root: Path, plan_file: Path) -> None:
    image = next((root / "imagesTr").iterdir())
    scan = nib.load(image)
    moved = scan.affine.copy()
    moved[:3, 3] += 5
    for folder in ("imagesTr", "labelsTr"):
        path = root / folder / image.name
        nib.save(nib.Nifti1Image(nib.load(path).get_fdata().astype("float32"), moved), path)
    with pytest.raises(
        DatasetError,
        match=r"plan.yaml: expected a plan of this dataset \(data\), got one of 'data' with other",
    ):
        module(root, plan=plan_file)


def test_a_plan_of_another_version_is_refused(root: Path, plan_file: Path) -> None:
    plan_file.write_text(plan_file.read_text().replace("schema: 1", "schema: 0"))
    with pytest.raises(ConfigError, match="expected a plan of schema 1, got 0, written by medconv"):
        module(root, plan=plan_file)


def test_an_explicit_patch_and_batch_are_never_refused_for_memory(root: Path) -> None:
    data = module(root, patch_size=[512, 512, 512], batch_size=64)
    assert data.plan.patch_size == (512, 512, 512)
    with pytest.raises(ConfigError, match=r"room for 1 patch\(es\) of \[512, 512, 512\], the memory holds 0"):
        module(root, patch_size=[512, 512, 512])


def test_a_file_that_changed_behind_the_cache_is_prepared_again(root: Path, plan_file: Path) -> None:
    data = module(root, plan=plan_file)
    data.prepare_data()
    before = {path.name for path in (root.parent / "cache").iterdir()}
    image = sorted((root / "imagesTr").iterdir())[0]
    scan = nib.load(image)
    nib.save(nib.Nifti1Image(scan.get_fdata().astype("float32") + 7, scan.affine, scan.header), image)
    again = module(root, plan=plan_file)
    again.prepare_data()
    added = {path.name for path in (root.parent / "cache").iterdir()} - before
    assert len(added) == 1
    assert added.pop().startswith(image.name.removesuffix(".nii.gz"))


def test_a_plan_that_was_edited_is_taken_as_edited(root: Path, plan_file: Path) -> None:
    edited = Proposal.load(plan_file)
    replace(edited, training=replace(edited.training, batch_size=11)).save(plan_file)
    assert module(root, plan=plan_file).batch_size == 11


def test_a_channel_of_unknown_kind_is_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    description = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(description | {"modality": {"0": "scan"}}))
    with caplog.at_level("INFO", "medconv"):
        module(root)
    assert "channel 'scan' names no known kind (CT, MRI, microscopy …)" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO", "medconv"):
        module(root, normalization=["none"])
    assert "names no known kind" not in caplog.text
