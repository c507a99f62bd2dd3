"""Folders of images and labels: paired by name, grouped by folder or pattern, every problem told at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medconv.errors import ConfigError, DatasetError
from medconv.io import ImageLayout, discover
from medconv.io.dataset_rules import DatasetRules
from medconv.io.group_cases import group_cases


def draw(path: Path, values: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 8), np.uint8) if values is None else values).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.tif", "well 3/c.png", "well 3/d.png"):
        draw(tmp_path / "cells/images" / name)
    for name in ("a.tif", "b.png", "well 3/c.png", "well 3/d.bmp"):
        draw(tmp_path / "cells/labels" / name)
    (tmp_path / "cells/images/.DS_Store").write_bytes(b"")
    return tmp_path / "cells"


def test_files_are_paired_by_name_whatever_their_types(root: Path) -> None:
    dataset = discover(root)
    assert [case.case_id for case in dataset.cases] == ["a", "b", "well_3_c", "well_3_d"]
    assert [(case.images[0].name, case.label.name) for case in dataset.cases if case.label] == [
        ("a.png", "a.tif"),
        ("b.tif", "b.png"),
        ("c.png", "c.png"),
        ("d.png", "d.bmp"),
    ]
    assert [case.group for case in dataset.cases] == ["a", "b", "well 3", "well 3"]
    assert (dataset.channel_names, dict(dataset.label_names), dataset.instances) == (
        ("microscopy",),
        {},
        False,
    )
    assert dataset.is_microscopy


def test_channels_are_named_after_what_the_files_hold(root: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.tif", "well 3/c.png", "well 3/d.png"):
        draw(root / "images" / name, np.zeros((6, 8, 3), np.uint8))
    assert discover(root).channel_names == ("red", "green", "blue")
    chosen = discover(root, layout=ImageLayout(channels=(2,)))
    assert chosen.channel_names == ("microscopy",)
    assert chosen.cases[0].layout.channels == (2,)
    table = tmp_path / "cells.csv"
    table.write_text("image,label\ncells/images/a.png,cells/labels/a.tif\n")
    assert discover(table).channel_names == ("red", "green", "blue")


def test_a_description_beside_them_names_labels_and_channels(root: Path) -> None:
    described = {"channel_names": {"0": "DAPI"}, "labels": {"background": 0, "nucleus": 1}, "instances": True}
    (root / "dataset.json").write_text(json.dumps(described))
    dataset = discover(root)
    assert dataset.instances
    assert dataset.channel_names == ("DAPI",)
    assert dict(dataset.label_names) == {0: "background", 1: "nucleus"}
    assert dataset.labels.allowed is None


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"labels": {"background": 0, "a": 1, "b": 2}, "instances": True}, "expected objects of one kind"),
        ({"labels": {"background": 0, "a": 1}, "instances": "yes"}, "expected true or false for 'instances'"),
        ({"labels": {"background": 0, "a": [1], "b": [1, 2]}, "instances": True}, "got regions"),
        ({"instances": True}, "expected 'labels' like"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(root: Path, described: dict, message: str) -> None:
    (root / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(DatasetError, match=message):
        discover(root)


def test_all_problems_are_told_at_once(root: Path) -> None:
    (root / "labels/b.png").unlink()
    draw(root / "labels/e.png")
    draw(root / "images/a.bmp")
    (root / "images/notes.txt").write_text("notes")
    with pytest.raises(DatasetError, match=r"4 problem\(s\)") as caught:
        discover(root)
    told = str(caught.value)
    assert "images/b: no labels/b.*; files of one case have the same name" in told
    assert "labels/e: no images/e.*" in told
    assert "images/a: there are a.bmp and a.png; keep one" in told
    assert "images/notes.txt: expected a file ending in .nii.gz" in told


def test_names_that_become_one_case_are_told(root: Path) -> None:
    for name in ("x y.png", "x_y.png"):
        draw(root / "images" / name)
        draw(root / "labels" / name)
    with pytest.raises(DatasetError, match="case id 'x_y' occurs 2 times"):
        discover(root)


def test_a_folder_of_neither_kind_says_what_there_could_be(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match=r"one with the folders images and labels, or a CSV file"):
        discover(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"slice_(\d)", ["0", "0", "1", "2"]),
        (r"slice_\d", ["slice_0", "slice_0", "slice_1", "slice_2"]),
        (r"(images)/slice_(\d)\d", ["images-0", "images-0", "images-1", "images-2"]),
        (None, ["slice_01", "slice_02", "slice_10", "slice_29"]),
    ],
)
def test_a_pattern_groups_cases_by_their_paths(
    tmp_path: Path, pattern: str | None, groups: list[str]
) -> None:
    for folder in ("images", "labels"):
        for number in (1, 2, 10, 29):
            draw(tmp_path / folder / f"slice_{number:02d}.png")
    dataset = group_cases(discover(tmp_path), pattern)
    assert [case.group for case in dataset.cases] == groups


def test_a_pattern_that_finds_nothing_or_is_none_is_refused(root: Path) -> None:
    dataset = discover(root)
    with pytest.raises(
        DatasetError, match=r"group_pattern 'well' finds nothing in images/a, images/b; every case"
    ):
        group_cases(dataset, "well")
    with pytest.raises(ConfigError, match=r"group_pattern: expected a regular expression, got '\('"):
        group_cases(dataset, "(")


def test_what_the_user_says_wins_over_the_files(root: Path) -> None:
    dataset = discover(root)
    objects = DatasetRules(labels="instance").apply(dataset)
    assert (objects.instances, dict(objects.label_names)) == (True, {0: "background", 1: "object"})
    cells = DatasetRules(labels="instance", label_names=["cell"]).apply(dataset)
    assert dict(cells.label_names) == {0: "background", 1: "cell"}
    masks = DatasetRules(labels="semantic", label_names=["rim", "inside"]).apply(cells)
    assert (masks.instances, masks.labels.allowed) == (False, {0, 1, 2})
    assert DatasetRules().apply(dataset) == dataset


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"labels": "instance", "label_names": ["a", "b"]}, "expected objects of one kind.* got a, b"),
        ({"labels": "instance", "label_names": ["a"], "ignore_label": 2}, "got a, an ignore label"),
        ({"label_names": []}, "label_names: expected a list with the name of each label from 1 on"),
        (
            {"label_names": "cell"},
            "label_names: expected a list with the name of each label from 1 on, got 'cell'",
        ),
    ],
)
def test_rules_that_contradict_are_refused(root: Path, rules: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DatasetRules(**rules).apply(discover(root))
