import json
from dataclasses import FrozenInstanceError, replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medconv.errors import ConfigError
from medconv.planning import NORMALIZATIONS, Intensity, Plan

CT = Intensity(low=-200.0, high=300.0, mean=40.0, std=90.0)


@pytest.fixture
def plan():
    return Plan(
        spatial_dims=3,
        channel_names=("CT", "T1"),
        label_names={0: "background", 1: "liver", 2: "tumour"},
        spacing_mm=(0.8, 0.8, 2.5),
        patch_size=(96, 96, 48),
        normalization=("ct", "zscore"),
        orientation="LPS",
        intensity=(CT, None),
    )


def plans():
    """Any valid plan."""

    def build(dims, channels, classes):
        exact = {"min_size": dims, "max_size": dims}
        kinds = st.lists(
            st.sampled_from(["zscore", "percentile", "range", "none"]), min_size=channels, max_size=channels
        )
        printable = st.characters(codec="utf-8", categories=("L", "N", "P"))
        names = st.text(printable, min_size=1, max_size=8)
        return st.builds(
            Plan,
            spatial_dims=st.just(dims),
            channel_names=st.lists(names, min_size=channels, max_size=channels),
            label_names=st.lists(names, min_size=classes, max_size=classes).map(lambda n: dict(enumerate(n))),
            spacing_mm=st.lists(st.floats(1e-6, 1e3), **exact),
            patch_size=st.lists(st.integers(1, 600), **exact),
            normalization=kinds,
            orientation=st.just("native") if dims == 2 else st.sampled_from(["RAS", "LPI", "native", "SAR"]),
        )

    return st.tuples(st.sampled_from([2, 3]), st.integers(1, 3), st.integers(2, 4)).flatmap(
        lambda a: build(*a)
    )


@settings(max_examples=40)
@given(plans())
def test_plans_survive_yaml_json_and_plain_values(plan):
    assert Plan.from_dict(plan.to_dict()) == plan
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_plan_with_intensities_survives_too(plan, tmp_path):
    assert Plan.from_yaml(plan.to_yaml()) == plan
    plan.save(tmp_path / "plan.yaml")
    assert Plan.load(tmp_path / "plan.yaml") == plan
    assert plan.to_dict()["intensity"] == [{"low": -200.0, "high": 300.0, "mean": 40.0, "std": 90.0}, None]


def test_plain_values_are_really_plain(plan):
    def walk(value):
        assert type(value) in (dict, list, str, int, float, bool, type(None))
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(child)

    walk(plan.to_dict())
    assert yaml.safe_load(plan.to_yaml()) == plan.to_dict()


def test_counts_are_those_of_the_names(plan):
    assert (plan.in_channels, plan.num_classes) == (2, 3)


def test_plan_is_frozen_and_does_not_share_what_it_was_given():
    names = {1: "a", 0: "background"}
    plan = Plan(3, ["T1"], names, [1, 1, 1], [8, 8, 8], ["zscore"])
    names[2] = "b"
    assert plan.label_names == {0: "background", 1: "a"}
    assert list(plan.label_names) == [0, 1]
    assert plan.spacing_mm == (1.0, 1.0, 1.0)
    assert isinstance(plan.spacing_mm[0], float)
    assert plan.intensity == (None,)
    assert hash(plan) == hash(replace(plan))
    with pytest.raises(FrozenInstanceError, match="spacing_mm"):
        plan.spacing_mm = (2.0, 2.0, 2.0)
    plan.to_dict()["label_names"][5] = "x"
    assert 5 not in plan.label_names


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"spatial_dims": 4}, "spatial_dims: expected a whole number from 2 to 3, got 4"),
        ({"spatial_dims": True}, "spatial_dims: expected a whole number"),
        ({"spatial_dims": 2}, "spacing_mm: expected 2 entries, got 3"),
        ({"channel_names": []}, "channel_names: expected 1 to 64 entries, got 0"),
        ({"channel_names": "CT"}, "channel_names: expected a list, got 'CT'"),
        ({"channel_names": ["CT", ""]}, "channel_names: expected names of 1 to 128"),
        ({"channel_names": ["CT", "a\nb"]}, "channel_names: expected names of 1 to 128"),
        ({"label_names": {0: "background"}}, "label_names: expected 2 to 1024 entries, got 1"),
        (
            {"label_names": {0: "background", 2: "b"}},
            r"label_names: expected the values 0 to 1, got \[0, 2\]",
        ),
        ({"label_names": {0: "background", "x": "b"}}, "label_names: expected a whole number .*, got 'x'"),
        ({"label_names": ["background", "b"]}, "label_names: expected {0: background"),
        ({"label_names": {0: "background", 1: 3}}, "label_names: expected names of 1 to 128"),
        ({"label_names": dict.fromkeys(range(2000), "x")}, "label_names: expected 2 to 1024 entries"),
        ({"spacing_mm": [1, 1]}, "spacing_mm: expected 3 entries, got 2"),
        ({"spacing_mm": [1, 1, 0]}, "spacing_mm: expected a number from 1e-08 to 1000, got 0"),
        ({"spacing_mm": [1, 1, float("nan")]}, "spacing_mm: expected a number .* got nan"),
        ({"spacing_mm": [1, 1, "2"]}, "spacing_mm: expected a number .* got '2'"),
        ({"spacing_mm": 1.0}, "spacing_mm: expected a list, got 1.0"),
        ({"patch_size": [8, 8, 0]}, "patch_size: expected a whole number from 1 to 4096, got 0"),
        ({"patch_size": [8, 8, 8.0]}, "patch_size: expected a whole number .* got 8.0"),
        (
            {"patch_size": [4096, 4096, 4096]},
            "patch_size: expected at most 268,435,456 voxels, got .*68,719,476,736",
        ),
        ({"normalization": ["zscore"]}, "normalization: expected 2 entries, got 1"),
        ({"normalization": ["ct", "z-score"]}, "normalization: no 'z-score'; did you mean 'zscore'"),
        ({"orientation": "RAP"}, "orientation: expected an orientation of three letters"),
        ({"orientation": None}, "orientation: expected 'native' in 2-D or letters like 'RAS'"),
        ({"intensity": [None, None]}, "intensity: expected low, high, mean and std for each 'ct' channel"),
        ({"intensity": [CT.to_dict(), CT.to_dict()]}, "nothing for others, got Intensity.* for 'zscore'"),
        ({"intensity": [CT.to_dict()]}, "intensity: expected 2 entries, got 1"),
        ({"intensity": [{"low": 1}, None]}, r"intensity: expected the keys \['low', 'high', 'mean', 'std'\]"),
        ({"intensity": [{**CT.to_dict(), "men": 1}, None]}, "did you mean 'mean'"),
        ({"intensity": [7, None]}, "intensity: expected the keys .* got 7"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(plan, changes, what):
    with pytest.raises(ConfigError, match=what):
        Plan.from_dict({**plan.to_dict(), **changes})


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"low": 2.0, "high": 1.0, "mean": 0.0, "std": 1.0}, "expected low < high and std > 0"),
        ({"low": 0.0, "high": 1.0, "mean": 0.0, "std": 0.0}, "expected low < high and std > 0"),
        (
            {"low": float("nan"), "high": 1.0, "mean": 0.0, "std": 1.0},
            "intensity.low: expected a finite number",
        ),
        (
            {"low": 0.0, "high": 1.0, "mean": "0", "std": 1.0},
            "intensity.mean: expected a finite number, got '0'",
        ),
    ],
)
def test_intensities_that_make_no_scale_are_refused(values, what):
    with pytest.raises(ConfigError, match=what):
        Intensity.from_dict(values)


def test_misspelt_key_is_refused_with_the_nearest(plan):
    with pytest.raises(ConfigError, match="unknown key 'spacing'; did you mean 'spacing_mm'"):
        Plan.from_dict({**plan.to_dict(), "spacing": [1, 1, 1]})


def test_missing_keys_are_named(plan):
    values = plan.to_dict()
    del values["patch_size"], values["label_names"]
    with pytest.raises(ConfigError, match="missing: label_names, patch_size"):
        Plan.from_dict(values)


@pytest.mark.parametrize("text", ["[1, 2]", "", "a: [", "!!python/object/apply:os.getcwd []"])
def test_text_that_is_no_plan_is_refused(text):
    with pytest.raises(ConfigError, match="plan: "):
        Plan.from_yaml(text)


def test_file_is_named_when_it_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        Plan.load(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("spatial_dims: 3\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml: plan: .* missing: channel_names"):
        Plan.load(tmp_path / "bad.yaml")


def test_two_dimensional_plan_keeps_the_stored_axes():
    names = {0: "background", 1: "cell"}
    assert Plan(2, ("T1",), names, (1.0, 1.0), (64, 64), ("zscore",), "native").spatial_dims == 2
    with pytest.raises(ConfigError, match="orientation: expected 'native' in 2-D"):
        Plan(2, ("T1",), names, (1.0, 1.0), (64, 64), ("zscore",))


def test_every_normalization_can_be_planned():
    names = {0: "background", 1: "liver"}
    for kind in NORMALIZATIONS:
        intensity = (CT,) if kind == "ct" else (None,)
        assert Plan(3, ("x",), names, (1, 1, 1), (8, 8, 8), (kind,), intensity=intensity).normalization == (
            kind,
        )
