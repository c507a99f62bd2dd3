from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medconv.cli.main import main
from medconv.cli.operator_cost import MARGIN, PLAIN_NETWORK, OperatorMemory, planned_settings
from medconv.cli.planned_network import fill_stages, keep_plan
from medconv.datamodules import NiftiDataModule
from medconv.errors import ConfigError, DatasetError
from medconv.io import discover
from medconv.models import activation_bytes, build_network
from medconv.planning import InstanceTarget, Plan, Proposal, TrainingPlan, plan_stages, propose
from medconv.training.build import build_data

NETWORK = {"class_path": "UNet", "init_args": {"conv": "DynamicConv"}}


@pytest.fixture
def root(tiny_dataset: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_dataset, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_plan_is_printed_as_the_file_that_would_be_written(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(root)]) == 0
    shown = capsys.readouterr()
    proposal = Proposal.from_yaml(shown.out)
    assert proposal.plan == propose(discover(root)).plan
    assert "a step takes about 0.0 GB in bfloat16" in proposal.reasons["training.batch_size"]
    assert shown.err == ""


def test_a_file_is_written_told_and_not_overwritten(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plan.yaml"
    assert main(["plan", str(root), "-o", str(path), "--patch", "[16,16,8]", "--batch-size", "4"]) == 0
    shown = capsys.readouterr().out
    assert "4 cases, 3-D" in shown
    assert "patch_size     16×16×8" in shown
    assert f"--data.init_args.plan {path}" in shown
    assert Proposal.load(path).training.batch_size == 4
    written = path.read_text()
    assert main(["plan", str(root), "-o", str(path)]) == 2
    assert "exists and may have been edited; name another file, or add --overwrite" in capsys.readouterr().err
    assert path.read_text() == written
    assert main(["plan", str(root), "-o", str(path), "--overwrite"]) == 0
    assert path.read_text() != written


@pytest.mark.slow
def test_expensive_operators_cost_more_than_plain_ones_and_follow_the_patch(root: Path) -> None:
    proposal = propose(discover(root))
    plan, stages = proposal.plan, proposal.network.stages
    plain, dynamic = (OperatorMemory(spec)(plan, stages) for spec in (PLAIN_NETWORK, NETWORK))
    assert dynamic.per_patch > 1.2 * plain.per_patch
    assert dynamic.fixed > plain.fixed
    thin = OperatorMemory(NETWORK)(replace(plan, patch_size=(24, 28, 4)), stages)
    assert thin.per_patch < dynamic.per_patch


def test_the_cost_is_that_of_the_network_that_would_be_built(root: Path) -> None:
    proposal = propose(discover(root))
    plan, stages = proposal.plan, proposal.network.stages
    cost = OperatorMemory(NETWORK)(plan, stages)
    network = build_network({"class_path": "UNet", "init_args": planned_settings(NETWORK, plan, stages)})
    half = activation_bytes(network.to(torch.bfloat16), plan.patch_size)
    assert cost.per_patch == pytest.approx(MARGIN * half)
    assert cost.fixed == 16 * sum(p.numel() for p in network.parameters())
    with pytest.raises(
        ConfigError, match=r"expected a medconv.models.UNet, .* got 'DynUNet'; plan without --config"
    ):
        OperatorMemory({"class_path": "DynUNet"})


@pytest.mark.parametrize(
    ("name", "peak_gib", "batch", "patch"), [("eager", 5.09, 2, 128), ("recorded", 3.71, 2, 128)]
)
@pytest.mark.slow
def test_the_estimate_is_near_what_was_measured(name: str, peak_gib: float, batch: int, patch: int) -> None:
    """benchmarks/results/step_time_plain.md: six stages, one H100."""
    plan = Plan(3, ("MRI",), {0: "background", 1: "a", 2: "b"}, (1, 1, 1), (patch,) * 3, ("zscore",))
    cost = OperatorMemory({"class_path": "UNet"})(plan, plan_stages(plan.patch_size, plan.spacing_mm))
    estimate = cost.of(batch) / 2**30
    assert peak_gib <= estimate <= 1.45 * peak_gib


def test_a_configuration_for_fit_is_one_that_fit_reads(root: Path, tmp_path: Path) -> None:
    plan, fit = tmp_path / "plan.yaml", tmp_path / "fit.yaml"
    assert main(["plan", str(root), "-o", str(plan), "--fit-config", str(fit), "--config", "unet_sym"]) == 0
    config = yaml.safe_load(fit.read_text())
    proposal = Proposal.load(plan)
    network = config["model"]["network"]["init_args"]
    assert (
        network["conv"]
        == yaml.safe_load(Path("configs/unet_sym.yaml").read_text())["model"]["network"]["init_args"]["conv"]
    )
    assert network["channels"] == list(proposal.network.channels)
    assert network["num_classes"] == 3
    assert config["trainer"]["max_epochs"] == 1000
    assert "max_time" not in config["trainer"]
    assert config["data"]["init_args"] == {"root": str(root), "plan": str(plan), "steps_per_epoch": 250}
    build_network(config["model"]["network"])


def test_a_configuration_for_fit_keeps_what_the_recipe_says_of_the_data(root: Path, tmp_path: Path) -> None:
    plan, fit, own = (tmp_path / f"{name}.yaml" for name in ("plan", "fit", "own"))
    kept = {"num_folds": 2, "foreground_oversampling": 0.5, "augment": {"strength": 0.0}, "ignore_label": 2}
    decided = {
        "root": "elsewhere",
        "spacing_mm": [9, 9, 9],
        "patch_size": [8, 8, 8],
        "batch_size": 7,
        "normalization": ["ct"],
        "steps_per_epoch": 3,
    }
    data = {"class_path": "medconv.datamodules.NiftiDataModule", "init_args": kept | decided}
    own.write_text(yaml.safe_dump({"data": data}))
    words = ["plan", str(root), "-o", str(plan), "--fit-config", str(fit), "--config", "unet_sym", "--config"]
    assert main([*words, str(own)]) == 0
    written = yaml.safe_load(fit.read_text())["data"]["init_args"]
    assert {name: written.get(name) for name in kept} == kept
    assert (written["root"], written["plan"]) == (str(root), str(plan))
    assert written["steps_per_epoch"] == Proposal.load(plan).training.steps_per_epoch
    assert not {"spacing_mm", "patch_size", "batch_size", "normalization"} & set(written)
    del written["augment"]
    module = NiftiDataModule(**written)
    module.prepare_plan()  # the plan follows the recipe's ignore label too
    assert module.plan.ignore_label == 2
    assert main(["plan", str(root), "-o", str(plan), "--fit-config", str(fit), "--overwrite"]) == 0
    assert set(yaml.safe_load(fit.read_text())["data"]["init_args"]) == {"root", "plan", "steps_per_epoch"}


@pytest.mark.slow
def test_fit_follows_the_plan(root: Path, tmp_path: Path) -> None:
    plan, fit = tmp_path / "plan.yaml", tmp_path / "fit.yaml"
    assert main(["plan", str(root), "-o", str(plan), "--fit-config", str(fit)]) == 0
    short = ["--config", "debug", "--data.init_args.steps_per_epoch", "2", "--data.init_args.cache_dir"]
    words = ["fit", "--config", str(fit), *short, str(tmp_path / "cache"), "--runs", str(tmp_path / "runs")]
    done = subprocess.run([sys.executable, "-m", "medconv", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "batches of 2 patches of [24, 28, 12] voxels" in done.stdout
    resolved = yaml.safe_load((tmp_path / "runs/fit/config.yaml").read_text())
    kept = tmp_path / "runs/fit/plan.yaml"
    assert resolved["data"]["init_args"]["plan"] == str(kept)
    trained, planned = Proposal.load(kept), Proposal.load(plan)
    assert (trained.plan, trained.network) == (planned.plan, planned.network)
    assert trained.training.steps_per_epoch == 2
    plan.unlink()  # the checkpoint is measured with the copy
    measure = [sys.executable, "-m", "medconv", "validate", str(tmp_path / "runs/fit/best.ckpt")]
    done = subprocess.run(measure, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- rules about labels

RULES = [
    {"regions": {"whole thing": [1, 2], "tail": [2]}, "regions_class_order": [1, 2]},
    {"ignore_label": 2},
    {"regions": {"head": [1]}, "ignore_label": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("rules", RULES, ids=["regions", "ignore label", "both"])
def test_a_refusal_names_a_command_whose_plan_is_taken(
    root: Path, tmp_path: Path, rules: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "a plan.yaml"
    assert main(["plan", str(root), "-o", str(plan)]) == 0
    message = (
        "with the same cases, but other label names, regions or ignore label; plan again with: medconv plan"
    )
    with pytest.raises(DatasetError, match=message) as caught:
        NiftiDataModule(root, plan=plan, **rules).prepare_plan()
    words = shlex.split(str(caught.value).partition("plan again with: ")[2])
    assert words[:6] == ["medconv", "plan", str(root), "-o", str(plan), "--overwrite"]
    assert main(words[1:]) == 0
    data = NiftiDataModule(root, plan=plan, **rules)
    data.prepare_plan()
    assert data.plan.ignore_label == rules.get("ignore_label")
    assert list(data.plan.regions) == list(rules.get("regions", {}))
    with pytest.raises(DatasetError, match=f"{message}.*overwrite$"):
        NiftiDataModule(root, plan=plan).prepare_plan()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--regions", "{ear: [9]}"], "ear"),
        (["--regions", "[1]"], "--regions: .*for example --regions '{whole: [1,2], core: [2]}'"),
        (["--regions-class-order", "[1]"], "regions_class_order has no effect without regions"),
        (["--ignore-label", "x"], "--ignore-label: .*for example --ignore-label 3"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "check"])
def test_rules_that_do_not_fit_are_refused(
    root: Path, command: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, str(root), *words]) == 2
    assert re.search(message.replace("[", r"\["), capsys.readouterr().err)


def test_check_takes_the_ignore_label_of_a_run(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "labelsTr" / "tiny_000.nii.gz"
    scan = nib.load(path)
    voxels = np.asarray(scan.dataobj).copy()
    voxels[3, 4, 5] = 9
    nib.save(nib.Nifti1Image(voxels, scan.affine, scan.header), path)
    assert main(["check", str(root)]) == 1
    assert "got also 9 (1 voxels)" in capsys.readouterr().out
    assert main(["check", str(root), "--ignore-label", "9"]) == 0
    assert "voxels); declare" not in capsys.readouterr().out


def test_how_objects_are_taught_is_typed_or_of_the_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
        for name in "ab":
            Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / f"cells/{folder}/{name}.png")
    plan, fit = tmp_path / "plan.yaml", tmp_path / "fit.yaml"
    words = ["plan", str(tmp_path / "cells"), "-o", str(plan), "--overwrite", "--patch", "[32,32]"]
    labels = ["--labels", "instance", "--label-names", "[cell]"]
    assert main([*words, *labels, "--instances", "{kind: distance, levels: 8}"]) == 0
    assert Proposal.load(plan).plan.instances == InstanceTarget(levels=8, name="cell")
    recipe = ["--config", "nuclei_plain", "--config", "nuclei_boundary", "--fit-config", str(fit)]
    assert main([*words, *recipe]) == 0
    assert Proposal.load(plan).plan.instances == InstanceTarget("boundary", name="nucleus")
    config = yaml.safe_load(fit.read_text())
    assert config["model"]["network"]["init_args"]["num_classes"] == 3
    assert config["data"]["init_args"]["instances"] == {"kind": "boundary", "width_vox": 2}
    build_data(config["data"]).prepare_plan()
    capsys.readouterr()
    assert main([*words, *labels, "--instances", "{kind: boundry}"]) == 2
    assert "instances.kind: no 'boundry'; did you mean 'boundary'" in capsys.readouterr().err


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 2, "no file or folder nowhere; expected a dataset: .*, relative paths start at /"),
        (["DATA/imagesTr"], 2, "imagesTr: expected a dataset: a folder with a dataset.json"),
        (["DATA", "-o", "DATA/dataset.json/plan.yaml"], 2, "-o: expected a folder, .*dataset.json is a file"),
        (["DATA", "--patch", "x"], 2, "--patch: .*for example --patch '[64,64,64]'"),
        (["DATA", "--ptch", "[1]"], 2, "no option or argument '--ptch'; did you mean '--patch'"),
        (["DATA", "--memory-gb", "-3"], 2, "memory_gb: expected a number above 0, got -3"),
        (["DATA", "--normalization", "[zscor]"], 2, "normalization: no 'zscor'; did you mean 'zscore'"),
        (["DATA", "--normalization", "[zscore,ct]"], 2, "normalization: expected 1 entries, got 2"),
        (["DATA", "--orientation", "XYZ"], 2, "orientation: "),
        (["DATA", "--device", "cuda"], 2, "--device cuda: expected a GPU, PyTorch sees none"),
        (["DATA", "--config", "nothing"], 2, "no file and no shipped configuration 'nothing'"),
        (["DATA", "--fit-config", "fit.yaml"], 2, "--fit-config: expected -o too"),
        (["DATA", "-o", "DATA"], 2, "expected a file to write, .* is a folder"),
    ],
)
def test_what_cannot_be_planned(
    root: Path, words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *(word.replace("DATA", str(root)) for word in words)]) == code
    assert re.search(message.replace("[", r"\["), capsys.readouterr().err)


def test_bad_cases_are_refused_or_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = root / "imagesTr" / "tiny_001.nii.gz"
    image.write_bytes(image.read_bytes()[:-300])
    (root / "imagesTr" / "tiny_002.nii.gz").write_bytes(b"no image")
    assert main(["plan", str(root)]) == 1
    assert "case tiny_002" in capsys.readouterr().err
    assert main(["plan", str(root), "--skip-bad-cases"]) == 1
    shown = capsys.readouterr()
    assert Proposal.from_yaml(shown.out).dataset.cases == 3
    assert "left out: case tiny_001" in shown.err
    assert "left out: case tiny_002" in shown.err


def test_what_one_should_know_is_remarked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    description = json.loads((root / "dataset.json").read_text())
    description |= {"modality": {"0": "scan"}, "labels": description["labels"] | {"3": "ear"}}
    (root / "dataset.json").write_text(json.dumps(description))
    assert main(["plan", str(root)]) == 0
    remarks = capsys.readouterr().err
    assert "remark: channel 'scan' names no known kind" in remarks
    assert "remark: class 'ear' occurs in no case" in remarks


# ---------------------------------------------------------------- the network of a plan


def test_open_strides_and_kernels_follow_the_plan(root: Path) -> None:
    proposal = propose(discover(root))
    three = {"channels": [4, 8, 16], "strides": None, "kernel_sizes": [3, 3, 3]}
    assert fill_stages(three, proposal) == "strides of the network follow the plan"
    assert three["strides"] == [list(step) for step in proposal.network.strides]
    assert three["kernel_sizes"] == [3, 3, 3]
    two = {"channels": [4, 8], "strides": None, "kernel_sizes": None}
    assert fill_stages(two, proposal).startswith(
        "the network has 2 stages, the plan 3: strides and kernels follow"
    )
    assert two["strides"] is None
    assert fill_stages({"filters": [4]}, proposal) == ""


def test_a_run_keeps_its_plan_and_names_the_copy_where_one_was_given(root: Path, tmp_path: Path) -> None:
    data = NiftiDataModule(root)
    data.prepare_plan()
    config: dict[str, dict[str, object]] = {"init_args": {"plan": None}}
    keep_plan(data, config, tmp_path / "run", data.proposal.training.epochs)
    assert Proposal.load(tmp_path / "run/plan.yaml") == data.proposal
    assert config["init_args"]["plan"] is None
    given = NiftiDataModule(root, plan=tmp_path / "run/plan.yaml")
    given.prepare_plan()
    keep_plan(given, config, tmp_path / "other", data.proposal.training.epochs)
    assert config["init_args"]["plan"] == str(tmp_path / "other/plan.yaml")


def test_the_kept_plan_names_the_batch_and_the_steps_of_the_run(root: Path, tmp_path: Path) -> None:
    data = NiftiDataModule(root, batch_size=3, steps_per_epoch=7)
    data.prepare_plan()
    assert data.proposal is not None
    planned = data.proposal.training
    assert (planned.batch_size, planned.steps_per_epoch) != (3, 7)
    keep_plan(data, {}, tmp_path, 11)
    kept = Proposal.load(tmp_path / "plan.yaml")
    assert kept.training == TrainingPlan(3, 7, 11)
    assert kept.plan == data.proposal.plan
    text = f"the configuration of the run; planned were {planned.batch_size}"
    assert kept.reasons["training.batch_size"] == text
    keep_plan(data, {}, tmp_path, None)
    kept = Proposal.load(tmp_path / "plan.yaml")
    assert kept.training == TrainingPlan(3, 7, planned.epochs)
    assert kept.reasons["training.epochs"].startswith(
        "planned; the run ends by its steps or its minutes instead"
    )
