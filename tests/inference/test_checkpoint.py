from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoint import METRICS, SPEC, content, save_checkpoint, tiny_plan

import medconv
from medconv.errors import CheckpointError, ConfigError
from medconv.inference import SCHEMA, pack, read_checkpoint
from medconv.models import build_network, resolve_network
from medconv.ops import ConvOp

Saved = dict[str, Any]


@pytest.fixture(scope="module")
def original() -> Saved:
    return content()


@pytest.fixture
def saved(original: Saved) -> Saved:
    """A copy that a test may spoil."""
    return copy.deepcopy(original)


def write(tmp_path: Path, saved: Saved) -> Path:
    torch.save(saved, tmp_path / "a.ckpt")
    return tmp_path / "a.ckpt"


# ---------------------------------------------------------------- what is read


def test_what_was_packed_is_read(tmp_path: Path, saved: Saved) -> None:
    checkpoint = read_checkpoint(write(tmp_path, saved))
    assert checkpoint.plan == tiny_plan()
    assert checkpoint.metrics == METRICS
    assert checkpoint.version == medconv.__version__
    assert checkpoint.network_spec == resolve_network(SPEC)
    assert checkpoint.config["model"]["lr"] == 1e-3
    assert (checkpoint.epoch, checkpoint.step) == (4, 120)


def test_the_built_network_answers_as_the_trained_one(tmp_path: Path, saved: Saved) -> None:
    trained = build_network(resolve_network(SPEC)).eval()
    trained.load_state_dict({key.removeprefix("network."): v for key, v in saved["state_dict"].items()})
    checkpoint = read_checkpoint(write(tmp_path, saved))
    exact, folded = checkpoint.build(folded=False), checkpoint.build()
    x = torch.randn(1, 1, 8, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(exact(x), trained(x), atol=0, rtol=0)
        torch.testing.assert_close(folded(x), trained(x), atol=1e-5, rtol=1e-5)
    assert not exact.training
    assert not folded.training
    assert not any(isinstance(module, ConvOp) for module in folded.modules())


def test_building_leaves_the_users_random_numbers_alone(tmp_path: Path, saved: Saved) -> None:
    checkpoint = read_checkpoint(write(tmp_path, saved))
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    checkpoint.build()
    assert torch.equal(torch.rand(2), expected)


def test_traces_of_compilation_are_removed(tmp_path: Path, saved: Saved) -> None:
    saved["state_dict"] = {
        key.replace("network.", "network._orig_mod."): value for key, value in saved["state_dict"].items()
    }
    read_checkpoint(write(tmp_path, saved)).build()


def test_weights_that_are_not_the_networks_are_left(tmp_path: Path, saved: Saved) -> None:
    saved["state_dict"]["loss.weight"] = torch.ones(3)
    assert "loss.weight" not in read_checkpoint(write(tmp_path, saved)).state_dict


# ---------------------------------------------------------------- what is refused


def no_record(saved: Saved) -> None:
    del saved["medconv"]


def other_record(saved: Saved) -> None:
    saved["medconv"] = "yes"


def newer(saved: Saved) -> None:
    saved["medconv"] |= {"schema": SCHEMA + 1, "version": "9.1.0"}


def no_schema(saved: Saved) -> None:
    del saved["medconv"]["schema"]


def schema_is_true(saved: Saved) -> None:
    saved["medconv"]["schema"] = True


def missing_plan(saved: Saved) -> None:
    del saved["medconv"]["plan"]


def unknown_entry(saved: Saved) -> None:
    saved["medconv"]["hook"] = "os.system"


def wrong_kind(saved: Saved) -> None:
    saved["medconv"]["metrics"] = [1]


def spoiled_plan(saved: Saved) -> None:
    saved["medconv"]["plan"]["spacing_mm"] = [1.0, -1.0, 1.0]


def absurd_patch(saved: Saved) -> None:
    saved["medconv"]["plan"]["patch_size"] = [10**6, 10**6, 10**6]


def no_network(saved: Saved) -> None:
    del saved["medconv"]["config"]["model"]["network"]


def no_model(saved: Saved) -> None:
    saved["medconv"]["config"] = {}


def no_weights(saved: Saved) -> None:
    saved["state_dict"] = {"loss.weight": torch.ones(2)}


def weights_are_no_tensors(saved: Saved) -> None:
    saved["state_dict"] = {"network.a": [1.0]}


def weights_are_nowhere(saved: Saved) -> None:
    saved["state_dict"]["network.a"] = torch.empty(10**6, 10**6, device="meta")


def weights_are_sparse(saved: Saved) -> None:
    saved["state_dict"]["network.a"] = torch.ones(2, 2).to_sparse()


def weight_is_nan(saved: Saved) -> None:
    next(iter(saved["state_dict"].values())).view(-1)[0] = float("nan")


def huge_channels(saved: Saved) -> None:
    saved["medconv"]["config"]["model"]["network"]["init_args"]["channels"] = [4, 10**9]


def spec_is_text(saved: Saved) -> None:
    saved["medconv"]["config"]["model"]["network"] = "yes"


def unknown_option(saved: Saved) -> None:
    saved["medconv"]["config"]["model"]["network"]["init_args"]["depht"] = 3


REFUSED_AT_READING: list[tuple[Callable[[Saved], None], str]] = [
    (
        no_record,
        r"not a medconv checkpoint \(keys: state_dict, optimizer_states, epoch, global_step\); give a \.ckpt",
    ),
    (other_record, "not a medconv checkpoint"),
    (
        newer,
        r"written by medconv 9\.1\.0 in schema 2, .* reads up to schema 1; update: pip install -U medconv",
    ),
    (no_schema, "expected a schema from 1, got None; the file was edited"),
    (schema_is_true, "expected a schema from 1, got True"),
    (missing_plan, r"missing entries \['plan'\]"),
    (unknown_entry, r"unknown entries \['hook'\]; the file was edited"),
    (wrong_kind, "expected metrics to be Mapping, got list"),
    (spoiled_plan, "spacing_mm: "),
    (absurd_patch, "patch_size: "),
    (no_network, r"expected a network at medconv\.config\.model\.network, got none"),
    (no_model, r"expected a network at medconv\.config\.model\.network, got none"),
    (no_weights, r"expected weights under state_dict\['network\.\*'\], got none"),
    (weights_are_no_tensors, r"expected weights under state_dict"),
    (weights_are_nowhere, r"expected weights under state_dict"),
    (weights_are_sparse, r"expected weights under state_dict"),
    (
        weight_is_nan,
        r"1 weight\(s\) are NaN or infinite, first '.*the training had diverged; take an earlier",
    ),
    (huge_channels, r"network\..*channels.*: expected a number up to \d+, got 1000000000"),
    (spec_is_text, "no SegmentationModel for network 'yes'"),
    (unknown_option, "UNet has no option 'depht'"),
]


@pytest.mark.parametrize(("spoil", "text"), REFUSED_AT_READING, ids=lambda x: getattr(x, "__name__", ""))
def test_a_spoiled_file_is_refused_with_name_and_reason(
    tmp_path: Path, saved: Saved, spoil: Callable[[Saved], None], text: str
) -> None:
    spoil(saved)
    with pytest.raises(CheckpointError, match=rf"a\.ckpt: .*{text}"):
        read_checkpoint(write(tmp_path, saved))


def a_key_less(saved: Saved) -> None:
    saved["state_dict"].popitem()


def a_key_more(saved: Saved) -> None:
    saved["state_dict"]["network.extra"] = torch.zeros(1)


def another_shape(saved: Saved) -> None:
    key = next(iter(saved["state_dict"]))
    saved["state_dict"][key] = torch.zeros(7, 7)


@pytest.mark.parametrize("spoil", [a_key_less, a_key_more, another_shape])
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, saved: Saved, spoil: Callable[[Saved], None]
) -> None:
    spoil(saved)
    checkpoint = read_checkpoint(write(tmp_path, saved))
    with pytest.raises(
        CheckpointError, match=r"(?s)a\.ckpt: its weights do not fit .*(Missing|Unexpected|size mis)"
    ):
        checkpoint.build()


def test_a_plan_of_another_network_is_refused(tmp_path: Path, saved: Saved) -> None:
    saved["medconv"]["plan"]["label_names"] = {0: "background", 1: "head"}
    checkpoint = read_checkpoint(write(tmp_path, saved))
    with pytest.raises(
        CheckpointError, match=r"\(axes, channels, classes\) \(3, 1, 3\), its plan \(3, 1, 2\)"
    ):
        checkpoint.build()


# ---------------------------------------------------------------- whose classes


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported; the underscore keeps its class out of catalogues."""
    mark = tmp_path / "imported"
    code = f"import pathlib; pathlib.Path({str(mark)!r}).touch()\n"
    code += "from medconv.ops import StandardConv\nclass _Conv(StandardConv): pass\nclass Net: pass\n"
    (tmp_path / "evil_package.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield mark
    sys.modules.pop("evil_package", None)


EVIL_SPECS = [
    {"class_path": "evil_package.Net"},
    SPEC | {"init_args": SPEC["init_args"] | {"conv": {"class_path": "evil_package._Conv"}}},
    SPEC | {"init_args": SPEC["init_args"] | {"conv": "evil_package._Conv"}},
    SPEC | {"init_args": SPEC["init_args"] | {"conv": ["StandardConv", "evil_package._Conv"]}},
    SPEC | {"init_args": SPEC["init_args"] | {"block": {"class_path": "evil_package.Net", "init_args": {}}}},
]


@pytest.mark.parametrize("spec", EVIL_SPECS)
def test_a_class_from_elsewhere_is_never_imported(
    tmp_path: Path, saved: Saved, evil: Path, spec: dict[str, Any]
) -> None:
    saved["medconv"]["config"]["model"]["network"] = spec
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt: .*'evil_package\..*nothing was imported.*--plugin evil_package"
    ):
        read_checkpoint(write(tmp_path, saved))
    assert not evil.exists()


def test_a_class_path_where_a_word_belongs_is_refused(tmp_path: Path, saved: Saved, evil: Path) -> None:
    saved["medconv"]["config"]["model"]["network"]["init_args"]["norm"] = "evil_package.Net"
    with pytest.raises(CheckpointError, match=r"a\.ckpt: .*norm"):
        read_checkpoint(write(tmp_path, saved))
    assert not evil.exists()


@pytest.mark.parametrize(
    "class_path",
    [
        "medconv.inference.archive.pickle.loads",
        "medconv.ops.base.nn.Conv3d",
        "medconv.cli.main.import_module",
        "medconv.no.such.Conv",
        "medconv.ops.NoSuchConv",
    ],
)
@pytest.mark.parametrize("slot", ["network", "conv"])
def test_medconv_is_no_way_round(tmp_path: Path, saved: Saved, class_path: str, slot: str) -> None:
    network = saved["medconv"]["config"]["model"]["network"]
    if slot == "network":
        network["class_path"] = class_path
    else:
        network["init_args"]["conv"] = {"class_path": class_path}
    with pytest.raises(CheckpointError, match=rf"a\.ckpt: network.*{class_path}"):
        read_checkpoint(write(tmp_path, saved))


def test_a_plug_in_that_the_user_names_is_used(tmp_path: Path, saved: Saved, evil: Path) -> None:
    init_args = saved["medconv"]["config"]["model"]["network"]["init_args"]
    init_args["conv"][1] = {"class_path": "evil_package._Conv", "init_args": {}}
    path = write(tmp_path, saved)
    network = read_checkpoint(path, allow=["evil_package"]).build(folded=False)
    assert evil.exists()
    operators = {type(module).__name__ for module in network.modules() if isinstance(module, ConvOp)}
    assert operators >= {"_Conv", "SymmetricConv"}


def test_hyperparameters_of_lightning_are_never_looked_at(tmp_path: Path, saved: Saved, evil: Path) -> None:
    saved["hyper_parameters"] = {
        "_instantiator": "evil_package.Net",
        "net": {"class_path": "evil_package.Net"},
    }
    read_checkpoint(write(tmp_path, saved)).build()
    assert not evil.exists()


# ---------------------------------------------------------------- packing


def test_a_packed_record_is_plain(tmp_path: Path) -> None:
    config = {
        "model": {
            "network": SPEC,
            "path": Path("a/b"),
            "sizes": (1, 2),
            "n": np.int64(3),
            "x": np.float64(0.5),
        }
    }
    record = pack(config=config, plan=tiny_plan(), metrics={"dice": np.float32(0.5), "per": {1: None}})
    torch.save(record, tmp_path / "r")
    assert torch.load(tmp_path / "r", weights_only=True) == record
    model = record["config"]["model"]
    assert (model["path"], model["sizes"], model["n"], model["x"]) == ("a/b", [1, 2], 3, 0.5)
    assert {type(model["n"]), type(model["x"]), type(record["metrics"]["dice"])} == {int, float}
    assert record["metrics"]["per"] == {1: None}


@pytest.mark.parametrize(
    ("config", "metrics", "text"),
    [
        ({}, {}, r"expected the network's specification at config\['model'\]\['network'\], got none"),
        (
            {"model": {"network": SPEC, "f": len}},
            {},
            r"plain value at config\.model\.f, got builtin_function",
        ),
        ({"model": {"network": SPEC}}, {"a": [torch.ones(1)]}, r"plain value at metrics\.a\[0\], got Tensor"),
        ({"model": {"network": SPEC}}, {(1, 2): 0}, r"names or integers as keys at metrics, got \(1, 2\)"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(
    config: dict[str, Any], metrics: dict[Any, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        pack(config=config, plan=tiny_plan(), metrics=metrics)


def test_the_file_of_a_training_is_read(tmp_path: Path) -> None:
    assert read_checkpoint(save_checkpoint(tmp_path / "runs" / "a.ckpt")).build().num_classes == 3
