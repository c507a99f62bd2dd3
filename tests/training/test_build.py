from __future__ import annotations

import json

import pytest
import torch
import yaml

from medconv.catalogue import catalogue
from medconv.errors import ConfigError
from medconv.losses import Loss
from medconv.training import build_task

UNET = {
    "class_path": "UNet",
    "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": 3, "channels": [4, 8]},
}


def with_conv(conv):
    return {"network": {**UNET, "init_args": {**UNET["init_args"], "conv": conv}}}


def test_the_resolved_configuration_is_plain_and_builds_the_same_task_again():
    task = build_task(with_conv({"class_path": "SymmetricConv", "init_args": {"basis": "ring"}}))
    config = json.loads(json.dumps(task.config))
    again = build_task(config)
    assert again.config == task.config
    assert again.network.state_dict().keys() == task.network.state_dict().keys()
    assert config["network"]["init_args"]["conv"]["init_args"]["basis"] == "ring"


def test_a_yaml_of_a_whole_run_is_accepted(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(
        yaml.safe_dump({"model": {"network": UNET, "lr": 0.5}, "data": {"class_path": "Anything"}})
    )
    assert build_task(path).config["lr"] == 0.5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (with_conv("SymetricConv"), "did you mean 'SymmetricConv'"),
        (with_conv({"class_path": "SymmetricConv", "init_args": {"basi": "ring"}}), "did you mean 'basis'"),
        (with_conv({"class_path": "SymmetricConv", "init_args": {"stride": 2}}), "stride"),
        ({"network": UNET, "learning_rate": 0.1}, "learning_rate"),
        ({"network": UNET, "lr": "fast"}, "lr"),
        ({"network": {"class_path": "os.system", "init_args": {}}}, "os.system"),
        ({"model": None}, "model: expected settings by name, got NoneType"),
    ],
    ids=["operator", "operator option", "geometry from YAML", "option", "type", "foreign class", "no model"],
)
def test_a_mistake_is_named(config, message):
    with pytest.raises(ConfigError, match=message):
        build_task(config)


def test_a_foreign_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text(
        "import pathlib; pathlib.Path('owned').write_text('x')\nclass Net: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="evil_module"):
        build_task(with_conv({"class_path": "evil_module.Net"}))
    assert not (tmp_path / "owned").exists()


def test_settings_outside_their_range_are_refused():
    with pytest.raises(ConfigError, match="lr > 0"):
        build_task({"network": UNET, "lr": -1.0})


def test_the_same_seed_gives_the_same_weights():
    def weights():
        torch.manual_seed(3)
        return build_task({"network": UNET}).network.state_dict()

    first, second = weights(), weights()
    assert all(torch.equal(first[k], second[k]) for k in first)


OWN_LOSSES = [name for name, cls in catalogue(Loss).items() if cls.__module__.startswith("medconv.")]


@pytest.mark.parametrize("name", sorted({*OWN_LOSSES} - {"CompoundLoss"}))
def test_every_loss_is_built_by_its_name_and_by_its_path(name):
    network = {
        "class_path": "UNet",
        "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4]},
    }
    task = build_task({"network": network, "loss": name})
    again = build_task({"network": network, "loss": task.config["loss"]})
    assert type(task.loss.loss).__name__ == type(again.loss.loss).__name__ == name
