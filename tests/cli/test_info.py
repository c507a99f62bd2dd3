from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_checkpoint import METRICS, save_checkpoint
from torch import nn

import medconv
from medconv.cli.info import operators_by_stage
from medconv.cli.main import main
from medconv.inference.checkpoint import read_checkpoint
from medconv.ops import StandardConv, SymmetricConv


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt")


def test_json_holds_everything(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(checkpoint), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["checkpoint"] == str(checkpoint)
    assert facts["version"] == medconv.__version__
    assert facts["network"] == "medconv.models.UNet"
    assert facts["classes"] == {"0": "background", "1": "head", "2": "tail"}
    assert facts["channels"] == {"T1": "zscore"}
    assert facts["spacing_mm"] == [0.8, 0.8, 2.5]
    assert facts["patch_size"] == [12, 12, 8]
    assert facts["metrics"] == METRICS
    training = facts["training"]
    assert (training["epoch"], training["steps"], training["lr"], training["data"]["init_args"]) == (
        4,
        120,
        1e-3,
        {"fold": 0},
    )
    network = read_checkpoint(checkpoint).build()
    assert 0 < facts["parameters"] < sum(p.numel() for p in network.parameters())  # tied weights count once
    operators = facts["operators"]
    assert len(operators) >= 3
    assert {name for counts in operators.values() for name in counts} == {"SymmetricConv", "StandardConv"}


def test_the_text_tells_the_same(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(checkpoint)]) == 0
    out = capsys.readouterr().out
    for text in (
        "classes     0 background, 1 head, 2 tail",
        "channels    T1 (zscore)",
        "spacing     0.8 × 0.8 × 2.5 mm, RAS",
        "patch       12 × 12 × 8 voxels",
        "medconv.models.UNet, ",
        "SymmetricConv × 2",
        "channels          [4, 8]",
        "conv              [SymmetricConv(basis=",
        "norm              instance",
        "mean_dice  0.875",
        "       name  head  tail\n       dice   0.9  0.85\n    hd95_mm   2.5  3.25",
        "optimizer  adamw",
        "steps      120",
        "data       NiftiDataModule(fold=0)",
    ):
        assert text in out, out


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"metrics": {"hd95_mm": [float("nan"), float("inf"), 1.5], "n": 3, "ok": True}}
    monkeypatch.setattr("medconv.cli.info.collect_facts", lambda _: facts)
    monkeypatch.setattr("medconv.inference.read_checkpoint", lambda *_, **__: None)
    monkeypatch.setattr("medconv.cli.info.require_file", lambda *_: None)
    assert main(["info", "any.ckpt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "metrics": {"hd95_mm": [None, None, 1.5], "n": 3, "ok": True}
    }


def test_a_file_that_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(tmp_path / "absent.ckpt")]) == 2
    err = capsys.readouterr().err
    assert err == (f"medconv info: no file {tmp_path}/absent.ckpt; expected a checkpoint\n")


def test_operators_are_counted_by_stage() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = StandardConv(2, 1, 4)
            first = nn.Sequential(SymmetricConv(2, 4, 4), SymmetricConv(2, 4, 4), nn.ReLU())
            self.encoder = nn.ModuleList([first, nn.Sequential(StandardConv(2, 4, 4))])

    assert operators_by_stage(Net()) == {
        "stem": {"StandardConv": 1},
        "encoder.0": {"SymmetricConv": 2},
        "encoder.1": {"StandardConv": 1},
    }


def test_a_plug_in_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_plugin.py").write_text(
        "from medconv.ops import StandardConv\nclass _Conv(StandardConv): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from tiny_checkpoint import SPEC, content

    saved = content()
    network = saved["medconv"]["config"]["model"]["network"]
    assert network["class_path"].endswith(SPEC["class_path"])
    network["init_args"]["conv"] = {"class_path": "my_plugin._Conv", "init_args": {}}
    del saved["state_dict"]
    import torch

    torch.save(saved, tmp_path / "p.ckpt")
    assert main(["info", str(tmp_path / "p.ckpt")]) == 1
    assert "--plugin my_plugin" in capsys.readouterr().err
    assert "my_plugin" not in sys.modules
    assert main(["info", str(tmp_path / "p.ckpt"), "--plugin", "my_plugin"]) == 1
    assert "expected weights" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["predict", "-i", "a", "-o", "b"], ["test"], ["validate"], ["info"]])
def test_every_command_says_that_there_is_no_such_checkpoint(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = words
    assert main([command, str(tmp_path / "absent.ckpt"), *rest]) == 2
    assert (
        f"medconv {command}: no file {tmp_path}/absent.ckpt; expected a checkpoint" in capsys.readouterr().err
    )
    assert main([command, str(tmp_path), *rest]) == 2
    assert "is a folder; name the file in it" in capsys.readouterr().err
