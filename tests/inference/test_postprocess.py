from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import FillHoles

from medconv.errors import ConfigError
from medconv.inference import Postprocessing, Rule

RULE = st.builds(Rule, st.booleans(), st.booleans(), st.sampled_from([0.0, 0.002, 0.01]))


def blobs(seed: int, shape: tuple[int, ...] = (12, 11, 10), classes: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.35, rng.integers(1, classes, shape), 0).astype(np.uint8)


def flooded(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    """Components by flood fill, voxel by voxel, corners included."""
    left = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    steps = list(product((-1, 0, 1), repeat=mask.ndim))
    found = []
    while left:
        component, edge = set(), [left.pop()]
        while edge:
            voxel = edge.pop()
            component.add(voxel)
            near = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for step in steps} & left
            left -= near
            edge += near
        found.append(component)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_components_are_those_of_a_flood_fill(seed: int) -> None:
    labels = blobs(seed) * (np.random.default_rng(seed).random((12, 11, 10)) < 0.3)
    labels = labels.astype(np.uint8)
    components = {n: flooded(labels == n) for n in (1, 2)}
    result = Postprocessing({1: Rule(largest_component=True), 2: Rule(min_volume_ml=0.003)}).apply(
        labels, (1, 1, 1)
    )
    kept = {tuple(map(int, voxel)) for voxel in np.argwhere(result == 1)}
    assert kept in components[1]
    assert len(kept) == max(map(len, components[1]))
    large = set().union(*(c for c in components[2] if len(c) >= 3))
    assert {tuple(map(int, voxel)) for voxel in np.argwhere(result == 2)} == large
    np.testing.assert_array_equal(result == 3, labels == 3)


def test_holes_are_closed_as_monai_does() -> None:
    labels = np.zeros((9, 9, 9), dtype=np.uint8)
    labels[1:8, 1:8, 1:8] = 2
    labels[3:6, 3:6, 3:6] = 0
    ours = Postprocessing({2: Rule(fill_holes=True)}).apply(labels, (1, 1, 1))
    theirs = FillHoles(applied_labels=[2], connectivity=1)(torch.from_numpy(labels)[None])[0].numpy()
    np.testing.assert_array_equal(ours, theirs)
    labels[4, 4, 4] = 1
    assert Postprocessing({2: Rule(fill_holes=True)}).apply(labels, (1, 1, 1))[4, 4, 4] == 1, (
        "another class is no hole"
    )


def test_a_slice_has_holes_though_its_third_axis_is_open() -> None:
    labels = np.zeros((5, 5, 1), dtype=np.uint8)
    labels[1:4, 1:4] = 1
    labels[2, 2] = 0
    assert Postprocessing({1: Rule(fill_holes=True)}).apply(labels, (1, 1, 1))[2, 2, 0] == 1


def test_volumes_are_in_ml_of_the_cases_own_spacing() -> None:
    labels = np.zeros((10, 4, 4), dtype=np.uint8)
    labels[0:2] = 1  # 32 voxels
    labels[5, 0, 0] = 1
    rule = Postprocessing({1: Rule(min_volume_ml=0.1)})
    np.testing.assert_array_equal(rule.apply(labels, (1, 1, 1))[5], 0)
    assert rule.apply(labels, (1, 1, 1)).sum() == 0  # 0.032 ml
    assert rule.apply(labels, (2, 2, 1)).sum() == 32  # 0.128 ml, and 0.004 ml
    assert rule.apply(labels, (5, 5, 4)).sum() == 33


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.dictionaries(st.integers(1, 3), RULE, max_size=3))
def test_classes_never_take_from_each_other_and_the_input_is_left_alone(
    seed: int, rules: dict[int, Rule]
) -> None:
    labels = blobs(seed)
    kept = labels.copy()
    result = Postprocessing(rules).apply(labels, (1, 1, 1))
    np.testing.assert_array_equal(labels, kept)
    changed = result != labels
    assert ((result == 0) | (labels == 0) | np.isin(result, list(rules)))[changed].all()
    untouched = [n for n in (1, 2, 3) if n not in rules]
    np.testing.assert_array_equal(np.isin(labels, untouched) & changed, False)


def test_yaml_there_and_back_with_names(tmp_path: Path) -> None:
    rules = Postprocessing({1: Rule(True, True, 0.5), 2: Rule(min_volume_ml=1.25)})
    rules.save(tmp_path / "p.yaml", {1: "liver", 2: "tumour"})
    text = (tmp_path / "p.yaml").read_text()
    assert "# liver" in text
    assert Postprocessing.load(tmp_path / "p.yaml", num_classes=3) == rules


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", "not valid YAML"),
        ("rules: {}", "expected one key, 'postprocessing'"),
        ("postprocessing: [1]", "expected rules by label"),
        (
            "postprocessing: {1: true}",
            "label 1: expected largest_component, fill_holes, min_volume_ml, got True",
        ),
        ("postprocessing: {1: {larges_component: true}}", "did you mean 'largest_component'"),
        ("postprocessing: {1: {fill_holes: 3}}", "label 1: fill_holes: expected true or false, got 3"),
        ("postprocessing: {1: {min_volume_ml: -1}}", "expected a number from 0 to 1e"),
        ("postprocessing: {1: {min_volume_ml: .nan}}", "expected a number from 0 to 1e"),
        ("postprocessing: {0: {fill_holes: true}}", "expected labels from 1, got 0"),
        ("postprocessing: {5: {fill_holes: true}}", r"expected labels from 1 to 2, the network's, got \[5\]"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"p\.yaml: .*{error}"):
        Postprocessing.load(path, num_classes=3)


def test_a_name_of_two_lines_leaves_rules_that_can_be_read() -> None:
    rules = Postprocessing({1: Rule(fill_holes=True)})
    text = rules.to_yaml({1: "left\nventricle"})
    assert "# left ventricle\n" in text
    assert Postprocessing.from_yaml(text) == rules


def test_rules_within_rules_without_end_are_refused() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        Postprocessing.from_yaml("[" * 5000)


def test_a_file_that_is_no_text_is_told_what_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(
        ConfigError, match=r"a\.png: expected rules of medconv tune-postprocessing, got no text"
    ):
        Postprocessing.load(tmp_path / "a.png")
