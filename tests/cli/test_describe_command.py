from __future__ import annotations

import json
from pathlib import Path

import pytest

from medconv.cli.main import main
from medconv.models import UNet, activation_bytes, build_network
from medconv.ops import SymmetricConv

NETWORK = """
class_path: UNet
init_args:
  spatial_dims: 2
  in_channels: 1
  num_classes: 2
  channels: [4, 8]
  conv: SymmetricConv
"""


@pytest.fixture
def network(tmp_path: Path) -> str:
    path = tmp_path / "network.yaml"
    path.write_text(NETWORK)
    return str(path)


def test_a_shipped_configuration_at_its_own_patch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "unet_sym"]) == 0
    shown = capsys.readouterr().out
    assert "encoder.blocks.0.units.0.conv" in shown
    assert "SymmetricConv 3×3×3" in shown
    assert "symmetry Oh: 48 of 48 rotations and reflections" in shown
    assert "memory of a training step of 4×32×32×24 in float32: " in shown


def test_json_has_the_figures_of_the_python_functions(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", network, "--patch", "[32,32]", "--batch-size", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    net = UNet(2, 1, 2, channels=(4, 8), conv=SymmetricConv)
    assert facts["parameters"] == sum(p.numel() for p in net.parameters())
    assert facts["activation_bytes"] == activation_bytes(net, (32, 32), 2)
    assert facts["weight_bytes"] == 16 * facts["parameters"]
    assert sum(layer["macs"] for layer in facts["layers"]) == facts["macs"]
    assert (facts["symmetry"], facts["broken_by"]) == ("D4", None)


def test_configurations_are_named_and_merged_as_for_fit(
    network: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "more.yaml"
    other.write_text("init_args: {channels: [4, 8, 16]}\n")
    seen = []
    for words in (
        ["--config", network],
        [f"--config={network}"],
        [network],
        [network, "--config", str(other)],
    ):
        assert main(["describe", *words, "--patch", "[32,32]", "--json"]) == 0
        seen.append(json.loads(capsys.readouterr().out)["parameters"])
    assert seen[0] == seen[1] == seen[2] < seen[3]


def test_the_voxel_size_decides_the_verdict(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["describe", network, "--patch", "[32,32]", "--spacing-mm", "[3,1]", "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["symmetry"] == "D2"
    assert facts["broken_by"] == {"layer": "image", "reason": "voxels of 3 × 1 mm differ between axes"}
    assert build_network({"class_path": "UNet", "init_args": {
        "spatial_dims": 2, "in_channels": 1, "num_classes": 2, "spacing_mm": [3, 1]}}).spacing_mm == (3, 1)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["unet_simm"], "no file and no shipped configuration 'unet_simm'; did you mean 'unet_sym'?"),
        (["gpu"], "expected a network in gpu, as model.network or alone, with class_path"),
        (["NETWORK"], "which NETWORK does not name; give --patch [64,64,64]"),
        (["NETWORK", "--patch", "[32,32,32]"], "expected input_shape with 2 entries"),
        (["NETWORK", "--patch", "[32,32]", "--batch-size", "-1"], "--batch-size: expected 1 or more, got -1"),
        (["NETWORK", "--patch", "[32,32]", "--batch-size", "0"], "--batch-size: expected 1 or more, got 0"),
        ([], "expected a configuration, got none: medconv describe --config unet_sym"),
        (["NETWORK", "--name", "x"], "no option or argument '--name' ("),
        (["NETWORK", "--pach", "[32,32]"], "no option or argument '--pach'; did you mean '--patch'"),
    ],
)
def test_says_what_is_wrong(
    words: list[str], message: str, network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.replace("NETWORK", network) for word in words]
    assert main(["describe", *given]) != 0
    assert message.replace("NETWORK", network) in capsys.readouterr().err


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in (("a: [", "is no YAML"), ("- a", "expected settings by name")):
        path = tmp_path / "broken.yaml"
        path.write_text(text)
        assert main(["describe", str(path)]) == 2
        assert message in capsys.readouterr().err


def test_a_network_over_a_group_without_lifting_is_told_how(
    network: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(network)
    path.write_text(path.read_text().replace("SymmetricConv", "GroupConv"))
    assert main(["describe", network, "--patch", "[32,32]"]) == 2
    assert "lift them first, with stem: LiftingConv in a UNet" in capsys.readouterr().err
