from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoint import METRICS, save_checkpoint

import medconv
from medconv.errors import CheckpointError
from medconv.export import load_exported, read_weights
from medconv.export.weights import write_weights
from medconv.inference import read_checkpoint
from medconv.models import fold


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and beside it, in a folder, its weights."""
    place = tmp_path_factory.mktemp("weights")
    checkpoint = read_checkpoint(save_checkpoint(place / "best.ckpt"))
    (place / "out").mkdir()
    write_weights(checkpoint, fold(checkpoint.build(folded=False)).eval(), place / "out")
    return place


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


def test_it_comes_back_as_the_predictor_that_the_checkpoint_gives(folder: Path, tmp_path: Path) -> None:
    scan = np.random.default_rng(0).normal(size=(12, 12, 8)).astype(np.float32)
    own = medconv.load(tmp_path / "best.ckpt", device="cpu").predict(scan, spacing_mm=(0.8, 0.8, 2.5))
    again = load_exported(folder, device="cpu").predict(scan, spacing_mm=(0.8, 0.8, 2.5))
    np.testing.assert_array_equal(own.labels, again.labels)
    network, plan = read_weights(folder / "model.json")
    assert plan == read_checkpoint(tmp_path / "best.ckpt").plan
    assert not network.training


def test_operators_are_plain_convolutions_in_the_file(folder: Path) -> None:
    specification = json.loads((folder / "model.json").read_text())
    assert specification["folded"] is True
    assert specification["metrics"] == METRICS
    names = set(load_file(folder / "model.safetensors"))
    assert any(name.endswith(".weight") for name in names)
    assert not any("theta" in name for name in names)


def test_reading_leaves_the_users_random_numbers_alone(folder: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    read_weights(folder)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": {"class_path": "os.system", "init_args": {}}}, "neither medconv's nor a plug-in's"),
        ({"schema": 2}, r"in schema 2, this is medconv .* which reads schema 1; update"),
        # what a newer version adds is no fault of whoever has the file
        ({"schema": 2, "more": 1}, r"in schema 2, this is medconv .* which reads schema 1; update"),
        ({"more": 1}, "expected a specification with folded, format"),
        ({"format": "other"}, "the file was edited, or is another's"),
        ({"plan": {}}, "plan: expected all of"),
    ],
)
def test_a_specification_that_was_edited_is_refused(folder: Path, change: dict, message: str) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        read_weights(folder)


def test_files_that_are_absent_damaged_or_spoiled_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.json: expected the specification of an export"):
        read_weights(tmp_path / "nowhere")
    weights = folder / "model.safetensors"
    tensors = load_file(weights)
    first = next(iter(tensors))
    save_file(tensors | {first: torch.full_like(tensors[first], torch.nan)}, weights)
    with pytest.raises(CheckpointError, match="NaN or infinite, first"):
        read_weights(folder)
    save_file({first: tensors[first]}, weights)
    with pytest.raises(
        CheckpointError, match=r"expected the weights of the network in model\.json \(.*Missing key"
    ):
        read_weights(folder)
    weights.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="export it again"):
        read_weights(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match="export it again"):
        read_weights(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(CheckpointError, match="expected the specification of an export"):
        read_weights(folder)
