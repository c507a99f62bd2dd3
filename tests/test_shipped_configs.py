"""Every shipped configuration says what it answers, is accepted by `medconv fit`, and builds its network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from medconv.cli.main import main
from medconv.models import build_network
from medconv.training import build_task

CONFIGS = Path(__file__).parents[1] / "configs"
NAMES = sorted(path.relative_to(CONFIGS).with_suffix("").as_posix() for path in CONFIGS.rglob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


COMPLETE = [name for name in NAMES if "class_path" in read(name).get("data", {})]
OVERLAYS = [name for name in NAMES if name not in COMPLETE]
QUICK = {"unet_sym", "nuclei_p4m", "hippocampus_gradient", "cpu", "debug", "wandb"}
"""One of each kind: the quick tests build and merge these, the slow ones the rest, at half a second each."""


def rest_slowly(names: list[str]) -> list[Any]:
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """``{"trainer.max_epochs": 12, …}``: every value of a nested mapping by its dotted name."""
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in leaves(inner, f"{path}.{key}").items()}
    return {path.removeprefix("."): value}


def parsed(capsys: pytest.CaptureFixture[str], *names: str) -> dict[str, Any]:
    """What ``medconv fit --config A --config B`` would run with."""
    words = [word for name in names for word in ("--config", name)]
    assert main(["fit", *words, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_there_are_the_promised_configurations() -> None:
    families = {f"{data}_{conv}" for data in ("unet", "hippocampus") for conv in ("plain", "sym", "gradient")}
    assert families | {"cpu", "gpu", "ddp", "debug"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_its_first_line_says_what_it_answers(name: str) -> None:
    first = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    assert first.startswith("# ")
    assert "?" in first or first.startswith("# Overlay: ") or "control" in first


@pytest.mark.parametrize("name", rest_slowly(COMPLETE))
def test_it_builds_its_task(name: str) -> None:
    settings = read(name)["model"]
    task = build_task(CONFIGS / f"{name}.yaml")
    wanted = settings["network"]["init_args"]
    assert type(task.network).__name__ == settings["network"]["class_path"].rpartition(".")[2]
    assert (task.network.spatial_dims, task.network.num_classes) == (
        wanted["spatial_dims"],
        wanted["num_classes"],
    )


def example(name: str) -> list[str]:
    """The configurations to merge: a complete one alone, an overlay as its first line says."""
    if name in COMPLETE:
        return [name]
    first = (CONFIGS / f"{name}.yaml").read_text().splitlines()[0]
    merged = re.search(r"--config (\w+) --config (\w+)$", first)
    assert merged, f"{name}: expected the first line to end with --config BASE --config {name}"
    return [merged[1], merged[2]]


@pytest.mark.parametrize("name", rest_slowly(NAMES))
def test_fit_accepts_every_value_of_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert example(name)[-1] == name
    merged = leaves(parsed(capsys, *example(name)))
    for key, value in leaves(read(name)).items():
        if key in merged:
            assert merged[key] == value or str(merged[key]) == str(value).removeprefix("0"), key  # 00:10:00
        else:  # a class given by its bare path is spelled out as a mapping
            assert merged[f"{key}.class_path"].endswith(value), key


@pytest.mark.parametrize("family", ["unet", "hippocampus"])
def test_only_the_operator_differs_within_a_family(family: str) -> None:
    plain, symmetric, gradient = (read(f"{family}_{conv}") for conv in ("plain", "sym", "gradient"))
    operators = [c["model"]["network"]["init_args"].pop("conv") for c in (plain, symmetric, gradient)]
    assert plain == symmetric == gradient
    assert "StandardConv" in str(operators[0])
    assert "SymmetricConv" in str(operators[1])
    assert "GradientWeightedConv" in str(operators[2])


ARMS = ("plain", "sym", "ring", "p4m")


@pytest.mark.parametrize("family", ["nuclei", "membrane"])
def test_the_arms_of_microscopy_differ_in_the_operator_and_what_it_needs_only(family: str) -> None:
    arms = {arm: read(f"{family}_{arm}") for arm in ARMS}
    own = {
        arm: {
            name: network.pop(name)
            for name in ("conv", "stem", "channels", "kernel_sizes")
            if name in (network := arms[arm]["model"]["network"]["init_args"])
        }
        for arm in ARMS
    }
    assert all(arm == arms["plain"] for arm in arms.values())
    assert set(own["p4m"]) == {"conv", "stem", "channels"}
    assert set(own["ring"]) == {"conv", "channels", "kernel_sizes"}
    assert own["sym"]["conv"]["init_args"] == {"basis": "orbit", "group": "auto"}
    assert own["ring"]["conv"]["init_args"] == {"basis": "ring", "group": "auto"}


@pytest.mark.parametrize("family", ["nuclei", pytest.param("membrane", marks=pytest.mark.slow)])
def test_the_arms_of_microscopy_have_equally_many_parameters_as_they_say(family: str) -> None:
    counts = {}
    for arm in ARMS:
        text = (CONFIGS / f"{family}_{arm}.yaml").read_text()
        said = re.search(r"channels: .*# ([\d,]+) parameters", text)
        network = build_network(read(f"{family}_{arm}")["model"]["network"])
        counts[arm] = sum(p.numel() for p in network.parameters())
        assert said
        assert int(said[1].replace(",", "")) == counts[arm]
    assert all(abs(count / counts["plain"] - 1) < 0.02 for count in counts.values())
