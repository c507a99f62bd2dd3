from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from medconv.errors import ConfigError, UnknownNameError
from medconv.models import MonaiDynUNet, UNet, build_network, resolve_network
from medconv.models.budget import require_affordable
from medconv.models.build import MAX_BYTES, to_plain
from medconv.ops import SymmetricConv

BASE = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4, 4]}


def spec(class_path: str = "UNet", **options: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": BASE | options}


FULL = """
class_path: UNet
init_args:
  spatial_dims: 3
  in_channels: 2
  num_classes: 3
  channels: [2, 4, 4]
  spacing_mm: [3, 1, 1]
  conv:
    - StandardConv
    - class_path: SymmetricConv
      init_args: {group: C4v, axis: 0}
    - medconv.ops.GradientWeightedConv
  decoder_conv: standard
  block: {class_path: ResidualBlock, init_args: {depth: 3}}
  attention: [null, ChannelAttention, {class_path: ChannelAttention, init_args: {kind: eca}}]
  kernel_sizes: [[1, 3, 3], 3, 3]
  norm: group
  deep_supervision: true
"""


def test_a_network_is_built_from_yaml_with_short_names() -> None:
    net = build_network(yaml.safe_load(FULL))
    assert isinstance(net, UNet)
    kinds = [type(block.units[0].conv).__name__ for block in net.encoder.blocks]
    assert kinds == ["StandardConv", "SymmetricConv", "GradientWeightedConv"]
    assert net.encoder.blocks[1].units[0].conv.group.name == "C4v"
    assert [len(block.units) for block in net.encoder.blocks] == [3, 3, 3]
    assert net.spacing_mm == (3.0, 1.0, 1.0)
    assert isinstance(net(torch.randn(1, 2, 4, 8, 8)), list)


def test_resolving_gives_plain_values_full_paths_and_all_defaults() -> None:
    full = resolve_network(yaml.safe_load(FULL))
    assert json.loads(json.dumps(full)) == full
    options = full["init_args"]
    assert full["class_path"] == "medconv.models.UNet"
    assert [c["class_path"] for c in options["conv"]] == [
        "medconv.ops.StandardConv",
        "medconv.ops.SymmetricConv",
        "medconv.ops.GradientWeightedConv",
    ]
    assert options["conv"][1]["init_args"] == {
        "basis": "auto",
        "group": "C4v",
        "axis": 0,
        "iso_ratio": 1.0,
    }
    assert options["conv"][2]["init_args"] == {
        "contrast_per_mm": 1.0,
        "border": "zero",
        "mode": "source",
        "guide": "image",
    }
    assert options["block"] == {"class_path": "medconv.blocks.ResidualBlock", "init_args": {"depth": 3}}
    assert options["attention"][0] is None
    assert options["attention"][2]["init_args"]["kind"] == "eca"
    assert (options["upsample"], options["dropout"], options["strides"]) == ("linear", 0.0, None)
    assert set(options) == set(resolve_network(spec())["init_args"])


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(yaml.safe_load(FULL), marks=pytest.mark.slow),
        spec(),
        spec("MonaiDynUNet"),
        pytest.param(spec(conv="SymmetricConv"), marks=pytest.mark.slow),
    ],
)
def test_resolving_is_idempotent_and_builds_the_same(source: dict[str, Any]) -> None:
    full = resolve_network(source)
    assert resolve_network(full) == full
    torch.manual_seed(0)
    first = build_network(source)
    torch.manual_seed(0)
    second = build_network(full)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(v, second.state_dict()[k]) for k, v in first.state_dict().items())


def test_a_given_specification_is_not_changed() -> None:
    source = yaml.safe_load(FULL)
    before = json.dumps(source)
    build_network(source)
    resolve_network(source)
    assert json.dumps(source) == before


def test_numbers_in_yaml_come_as_numbers() -> None:
    options = resolve_network(spec(spacing_mm=[2, 1], dropout=0))["init_args"]
    assert options["spacing_mm"] == [2.0, 1.0]
    assert isinstance(options["dropout"], float)


def test_a_monai_network_is_built_by_name() -> None:
    assert isinstance(build_network(spec("MonaiDynUNet")), MonaiDynUNet)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (spec("Unet"), "no SegmentationModel for network 'Unet'; did you mean 'UNet'"),
        (spec("medconv.models.Unet"), "no class 'medconv.models.Unet'; did you mean 'medconv.models.UNet'"),
        (
            spec(conv="SymetricConv"),
            "no ConvOp for network.conv 'SymetricConv'; did you mean 'SymmetricConv'",
        ),
        (spec(chanels=[2]), "UNet has no option 'chanels'; did you mean 'channels'"),
        (
            spec(conv={"class_path": "SymmetricConv", "init_args": {"basi": "ring"}}),
            "SymmetricConv has no option 'basi'; did you mean 'basis'? Options: basis, group, axis",
        ),
        (
            spec(conv=["StandardConv"] * 2 + [{"class_path": "SymmetricConv", "init_args": {"grup": "C4"}}]),
            "network.conv.2: SymmetricConv has no option 'grup'; did you mean 'group'",
        ),
        (spec(decoder_conv="standrd"), "'standrd'; did you mean 'standard'"),
        (
            spec(block="ResidualBlok"),
            "no Block for network.block 'ResidualBlok'; did you mean 'ResidualBlock'",
        ),
        (spec(attention="ChanelAttention"), "no Attention for network.attention"),
    ],
)
def test_misspelt_names_are_refused_with_the_nearest(source: dict[str, Any], message: str) -> None:
    for use in (resolve_network, build_network):
        with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
            use(source)


@pytest.mark.parametrize(
    "option", ["stride", "spatial_dims", "in_channels", "kernel_size", "spacing_mm", "bias"]
)
def test_what_the_network_sets_itself_cannot_be_configured(option: str) -> None:
    conv = {"class_path": "SymmetricConv", "init_args": {option: 2}}
    with pytest.raises(ConfigError, match=f"'{option}' of SymmetricConv is set by the network and cannot be"):
        resolve_network(spec(conv=conv))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (spec(norm="instanc"), r"network.norm: .*Got value: instanc; did you mean 'instance'\?"),
        (spec(channels="many"), "network.channels: .*Got value: many"),
        (spec(channels=[2, "a"]), "network.channels: Expected a <class 'int'>. Got value: a"),
        (spec(dropout="much"), "network.dropout: .*Got value: much"),
        (spec(block={"class_path": "PlainBlock", "init_args": {"depth": "x"}}), "depth: .*Got value: x"),
        (spec(conv=3), "network.conv: expected the name of a ConvOp, or class_path and init_args; got 3"),
        (spec(conv={"class": "X"}), "network.conv: expected the name of a ConvOp"),
        (
            spec(conv="medconv.blocks.PlainBlock"),
            "expected a ConvOp that can be built, got 'medconv.blocks.Pl",
        ),
        (
            spec(attention="medconv.attention.AttentionGate"),
            "expected an Attention that can be built, got 'medconv.attention.AttentionGate'; it weighs skips: "
            "put it in skip_attention",
        ),
        (spec(conv="medconv.ops.ConvOp"), "expected a ConvOp that can be built, got 'medconv.ops.ConvOp'"),
        (spec() | {"dict_kwargs": {}}, r"expected only class_path and init_args, got \['dict_kwargs'\] too"),
        ({"class_path": "UNet", "init_args": [1]}, r"network.init_args: expected options by name, got \[1\]"),
        (7, "network: expected the name of a SegmentationModel"),
        ({"class_path": "UNet"}, "network: .*spatial_dims"),
        (spec(num_classes=None), "network: the following arguments are required: num_classes"),
    ],
)
def test_values_of_the_wrong_type_are_refused_with_their_place(source: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_network(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (spec(channels=[10**9, 4]), "channels.0: expected a number up to 65536"),
        (spec(channels=[4] * 1000), "channels: expected at most 64 entries, got 1000"),
        (spec(channels=[4] * 11), "expected 2 to 10 stages"),
        (spec(channels=[60_000, 4]), "expected channels from 1 to 4096"),
        (spec(kernel_sizes=[1001, 3, 3]), "expected kernel_sizes from 1 to 15"),
        (
            spec(block={"class_path": "PlainBlock", "init_args": {"depth": 60_000}}),
            "expected depth from 1 to 32",
        ),
        (spec(channels=[4096] * 10), "expected a network of at most 16.0 GiB"),
        (spec("MonaiDynUNet", channels=[60_000] * 4), "expected a network of at most 16.0 GiB"),
    ],
)
def test_a_specification_cannot_exhaust_the_machine(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_network(source)


def test_endless_nesting_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(5000):
        nested = {"class_path": "x", "init_args": nested}
    with pytest.raises(ConfigError, match="expected at most 12 levels of nesting"):
        resolve_network(nested)


def test_a_network_of_half_a_billion_weights_is_still_affordable() -> None:
    # nnU-Net's ResEnc-XL has 102 million
    options = BASE | {"channels": (640, 1280, 2560), "spatial_dims": 3}
    require_affordable(partial(UNet, **options), MAX_BYTES)  # type: ignore[arg-type]


EVIL = """
    from pathlib import Path
    from torch import nn
    Path({marker!r}).write_text("imported")
    from medconv.ops import StandardConv
    class E(StandardConv): ...
    class N(nn.Module): ...
"""
PLACES = {
    "network": spec("evilmod.N"),
    "slot": spec(conv="evilmod.E"),
    "slot with options": spec(conv={"class_path": "evilmod.E", "init_args": {}}),
    "list": spec(conv=["StandardConv", "evilmod.E", "StandardConv"]),
    "attention": spec(attention={"class_path": "evilmod.E"}),
    "block": spec(block="evilmod.E"),
}


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "marker"
    (tmp_path / "evilmod.py").write_text(textwrap.dedent(EVIL.format(marker=str(path))))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "evilmod", raising=False)
    return path


@pytest.mark.parametrize("place", PLACES)
def test_a_foreign_class_is_refused_before_it_is_imported(place: str, marker: Path) -> None:
    for use in (resolve_network, build_network):
        with pytest.raises(
            ConfigError, match=r"'evilmod.*neither medconv's nor a plug-in's.*--plugin evilmod"
        ):
            use(PLACES[place])
    assert not marker.exists()
    assert "evilmod" not in sys.modules


@pytest.mark.parametrize(
    "path", ["os.system", "builtins.eval", "medconv_evil.X", "torch.nn.Linear", "medconv._x.Y"]
)
def test_no_other_path_is_looked_up_either(path: str) -> None:
    with pytest.raises(ConfigError, match="nothing was imported"):
        resolve_network(spec(conv=path))


def test_a_plug_in_that_the_caller_names_is_used_by_path_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "myplugin.py").write_text(
        "from medconv.ops import StandardConv\nclass MyOwnConv(StandardConv):\n    '''Mine.'''\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("myplugin.MyOwnConv", "MyOwnConv"):
        full = resolve_network(spec(conv=name), allow=["myplugin"])
        assert full["init_args"]["conv"]["class_path"] == "myplugin.MyOwnConv"
        net = build_network(full, allow=["myplugin"])
        assert type(net.encoder.blocks[0].units[0].conv).__name__ == "MyOwnConv"
    with pytest.raises(ConfigError, match="neither medconv's nor a plug-in's"):
        resolve_network(spec(conv="MyOwnConv"))


@pytest.mark.slow
def test_building_leaves_jsonargparses_policy_alone_and_restricting_refuses_foreign_paths(
    tmp_path: Path,
) -> None:
    # the policy is one for the whole process, so this one has a process of its own
    code = """
        from jsonargparse import ArgumentParser
        from medconv.models import SegmentationModel, build_network
        from medconv.models.build import restrict_class_paths
        options = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4]}
        build_network({"class_path": "UNet", "init_args": options})
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument("--network", type=SegmentationModel)
        def outcome(path):
            try:
                parser.parse_object({"network": {"class_path": path, "init_args": options}})
            except Exception as error:
                return "denied" if "not allowed" in str(error) else "tried"
            return "taken"
        print(outcome("myplugin.Net"))
        with restrict_class_paths():
            print(outcome("myplugin.Net"), outcome("medconv.models.UNet"))
        with restrict_class_paths(["myplugin"]):
            print(outcome("myplugin.Net"))
        print(outcome("myplugin.Net"))
    """
    (tmp_path / "myplugin.py").write_text("class Net: ...")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["tried", "denied", "taken", "tried", "denied"]


@pytest.mark.slow
def test_a_plug_in_is_used_after_a_command_that_denied_it(tmp_path: Path) -> None:
    code = """
        from medconv.models import build_network, restrict_class_paths
        options = {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [2, 4], "conv": "myplugin.Own"}
        for plugins in ([], ["myplugin"]):
            with restrict_class_paths(plugins):
                pass
            network = build_network({"class_path": "UNet", "init_args": options}, allow=["myplugin"])
            print(type(network.encoder.blocks[0].units[0].conv).__name__)
    """
    (tmp_path / "myplugin.py").write_text(
        "from medconv.ops import StandardConv\nclass Own(StandardConv): ...\n"
    )
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["Own", "Own"]


def test_plain_values_of_a_parsed_configuration() -> None:
    assert to_plain({"path": Path("a/b"), "sizes": (1, 2), "conv": SymmetricConv}) == {
        "path": "a/b",
        "sizes": [1, 2],
        "conv": {"class_path": "medconv.ops.SymmetricConv", "init_args": {}},
    }
    with pytest.raises(ConfigError, match=r"expected plain values in a configuration, got .*\(set\)"):
        to_plain({"sizes": {1, 2}})


def test_networks_built_from_one_specification_share_nothing():
    spec = {
        "class_path": "UNet",
        "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": [4, 8]},
    }
    full = resolve_network(spec)
    one, other = build_network(spec), build_network(full)
    full["init_args"]["channels"].append(16)
    assert resolve_network(spec)["init_args"]["channels"] == [4, 8]
    assert {id(p) for p in one.parameters()}.isdisjoint(id(p) for p in other.parameters())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert all(p.abs().sum() > 0 for p in build_network(spec).parameters() if p.dim() > 1)


def test_a_specification_is_refused_however_often_it_is_asked_for():
    spec = {"class_path": "UNet", "init_args": {"spatial_dims": 2, "in_channels": 1, "num_classes": "two"}}
    for _ in range(2):
        with pytest.raises(ConfigError, match="num_classes"):
            resolve_network(spec)
