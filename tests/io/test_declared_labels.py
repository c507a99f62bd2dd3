from __future__ import annotations

import json
import shutil

import pytest

from medconv.errors import ConfigError, DatasetError
from medconv.io import discover
from medconv.io.declared_labels import DeclaredLabels, derive_class_order

BRATS = {
    "background": 0,
    "whole tumour": [1, 2, 3],
    "core": [2, 3],
    "enhancing": 3,
    "ignore": 4,
}


@pytest.fixture
def root(tiny_dataset, tmp_path):
    return shutil.copytree(tiny_dataset, tmp_path / "data")


def describe(root, labels, **more):
    path = root / "dataset.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**description, "labels": labels, **more}), encoding="utf-8")


def test_regions_and_ignore_label_of_nnunet_are_read(root):
    describe(root, BRATS, regions_class_order=[1, 2, 3])
    labels = discover(root).labels
    assert dict(labels.names) == {0: "background", 1: "label_1", 2: "label_2", 3: "label_3"}
    assert labels.regions == {"whole tumour": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert (labels.regions_class_order, labels.ignore_label) == ((1, 2, 3), 4)
    assert labels.allowed == {0, 1, 2, 3, 4}
    describe(root, {"background": 0, "a": 1, "ignore": 2})
    assert (dict(discover(root).label_names), discover(root).ignore_label) == ({0: "background", 1: "a"}, 2)


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (
            BRATS,
            {"regions_class_order": [1, 2]},
            r"expected one label for each of the 3 regions .* got \[1, 2\]",
        ),
        (
            BRATS,
            {"regions_class_order": "no"},
            "expected a list of labels in 'regions_class_order', got 'no'",
        ),
        ({"background": 0, "a": [1, 3]}, {"regions_class_order": [1]}, "numbered 0 to 2 without gaps"),
        ({"background": 0, "a": [1], "b": [1, 2]}, {}, "'a' has no label that later regions lack"),
        ({"background": 0, "a": ["x"]}, {}, "expected whole numbers in 'labels'"),
        (
            {"background": 0, "a": 1, "ignore": 1},
            {},
            "ignore_label: expected a value above 0 that is none of",
        ),
    ],
)
def test_mistakes_are_listed(root, labels, more, message):
    describe(root, labels, **more)
    with pytest.raises(DatasetError, match=message):
        discover(root)


def test_the_order_follows_from_nested_regions_only():
    assert derive_class_order({"core": (1, 2), "middle": (2,)}) == (1, 2)
    with pytest.raises(ConfigError, match=r"'all' has the labels \[1, 2\] that later regions lack"):
        derive_class_order({"all": (1, 2, 3), "one": (3,)})
    with pytest.raises(ConfigError, match=r"expected 'a' to be a list of labels among \[1\], got \[0\]"):
        DeclaredLabels({0: "background", 1: "b"}, {"a": (0,)}, (1,))
