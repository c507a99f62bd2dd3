import re
from dataclasses import replace

import pytest
import yaml

from medconv.errors import ConfigError
from medconv.planning import InstanceTarget, Plan

GRID = {
    "spatial_dims": 2,
    "channel_names": ("DAPI",),
    "spacing_mm": (1.0, 1.0),
    "patch_size": (64, 64),
    "normalization": ("percentile",),
    "orientation": "native",
}
TARGETS = [
    InstanceTarget(name="nucleus"),
    InstanceTarget(levels=8),
    InstanceTarget("boundary", width_vox=1.5, name="cell"),
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_plan_of_objects_survives_writing_and_reading(target):
    plan = Plan(**GRID, **target.plan_values())
    assert Plan.from_yaml(plan.to_yaml()) == plan
    assert yaml.safe_load(plan.to_yaml())["instances"] == target.to_dict()
    assert plan.declared.instances
    assert plan.declared.names == {0: "background", 1: target.name}
    assert plan.declared.allowed is None


def test_outputs_are_nested_regions_or_three_classes():
    shells = Plan(**GRID, **InstanceTarget(levels=4).plan_values())
    assert (shells.num_classes, shells.num_labels) == (4, 5)
    assert list(shells.regions.values()) == [(1, 2, 3, 4), (2, 3, 4), (3, 4), (4,)]
    rim = Plan(**GRID, **InstanceTarget("boundary").plan_values())
    assert (rim.num_classes, rim.regions) == (3, {})


def test_a_plan_without_objects_declares_its_own_labels_and_does_not_mention_them():
    plan = Plan(**GRID, label_names={0: "background", 1: "nucleus"})
    assert plan.declared.names == plan.label_names
    assert "instances" not in plan.to_dict()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"kind": "distanz"},
            "instances.kind: no 'distanz'; did you mean 'distance'?. All: distance, boundary",
        ),
        ({"levels": 1}, "instances.levels: expected a whole number from 2 to 32, got 1"),
        ({"width_vox": 2.0}, "instances.width_vox: has no meaning for 'distance'; leave it out"),
        ({"kind": "boundary", "levels": 3}, "instances.levels: has no meaning for 'boundary'; leave it out"),
        ({"kind": "boundary", "width_vox": 0}, "instances.width_vox: expected a number from 1 to 64, got 0"),
        ({"name": ""}, "instances.name: expected names of 1 to 128 printable characters, got ''"),
        (
            {"level": 3},
            "instances: unknown key 'level'; did you mean 'levels'?. All: kind, levels, width_vox, name",
        ),
    ],
)
def test_bad_targets_are_refused(values, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        InstanceTarget.from_dict(values)


def test_something_else_than_a_mapping_is_refused():
    with pytest.raises(ConfigError, match="instances: expected kind, levels, width_vox, name, got True"):
        InstanceTarget.from_dict(True)


def test_labels_that_are_not_those_of_the_target_are_refused():
    plan = Plan(**GRID, **InstanceTarget().plan_values())
    with pytest.raises(
        ConfigError, match=r"label_names: expected .* for instances, got .*; make such a plan with"
    ):
        replace(plan, label_names={0: "background", 1: "nucleus"}, regions={}, regions_class_order=())
    with pytest.raises(
        ConfigError, match="ignore_label: expected none for instances, got 9; maps of numbered"
    ):
        replace(plan, ignore_label=9)
