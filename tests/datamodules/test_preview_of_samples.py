from __future__ import annotations

import numpy as np

from medconv.datamodules import NiftiDataModule
from medconv.datamodules.preview import preview_augmentation
from medconv.transforms.augment_settings import AugmentSettings


def module(root, folder, **settings):
    data = NiftiDataModule(
        root, patch_size=[16, 16, 8], num_folds=2, num_workers=0, cache_dir=folder, **settings
    )
    data.setup("fit")
    return data


def test_the_first_is_as_cut_the_words_are_true_and_the_same_seed_shows_the_same(tiny_dataset, tmp_path):
    data = module(tiny_dataset, tmp_path)
    one, again = preview_augmentation(data, 2, 6), preview_augmentation(data, 2, 6)
    assert [p.images.shape for p in one] == [(7, 16, 16, 8)] * 2
    for preview, twin in zip(one, again, strict=True):
        np.testing.assert_array_equal(preview.images, twin.images)
        assert preview.changes[0] == "as cut"
        for image, words in zip(preview.images[1:], preview.changes[1:], strict=True):
            assert (words == "nothing") == np.array_equal(image, preview.images[0])
    assert len({word for p in one for words in p.changes for word in words.split(", ")}) > 4


def test_without_augmentation_nothing_happens(tiny_dataset, tmp_path):
    (preview, *_) = preview_augmentation(
        module(tiny_dataset, tmp_path, augment=AugmentSettings(strength=0)), 1, 2
    )
    assert preview.changes == ("as cut", "nothing", "nothing")
