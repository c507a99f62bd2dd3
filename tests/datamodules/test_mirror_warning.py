from __future__ import annotations

import warnings
from dataclasses import replace

import pytest

from medconv.datamodules import NiftiDataModule
from medconv.transforms.augment_settings import AugmentSettings


def settings_of(root, folder, names, axes):
    augment = AugmentSettings(mirror_axes=axes)
    data = NiftiDataModule(root, augment=augment, num_workers=0, cache_dir=folder)
    data.prepare_plan()
    data.plan = replace(data.plan, label_names={0: "background", **dict(enumerate(names, 1))})
    return data.augmentation().settings


def test_flipping_left_and_right_against_the_names_of_labels_is_warned_of(tiny_dataset, tmp_path):
    sided = ("left kidney", "right kidney")
    with pytest.warns(
        UserWarning, match=r"flips axis 0 although .*left becomes right; leave .* to flip \[1, 2\]"
    ):
        settings_of(tiny_dataset, tmp_path, sided, (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert settings_of(tiny_dataset, tmp_path, sided, None).mirror_axes == (1, 2)
        assert settings_of(tiny_dataset, tmp_path, sided, (1,)).mirror_axes == (1,)
        assert settings_of(tiny_dataset, tmp_path, ("head", "tail"), (0,)).mirror_axes == (0,)
