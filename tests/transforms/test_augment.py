"""The whole augmentation: reproducible by key, label-safe, exact where it does nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gpu_waiting import no_waiting

from medconv.errors import ConfigError, ShapeError
from medconv.transforms.augment import Augment
from medconv.transforms.augment_settings import AugmentSettings, Chance

OFF = Chance(0.0, 1.0, 1.0)
STILL = AugmentSettings(
    rotation=0,
    scale=OFF,
    mirror=0,
    noise_std=OFF,
    blur_sigma_vox=OFF,
    brightness=OFF,
    contrast=OFF,
    resolution=OFF,
    gamma_inverted=OFF,
    gamma=OFF,
)


def batch(size=6, shape=(12, 16, 10), channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, channels, *shape, generator=generator)
    label = torch.randint(0, 4, (size, 1, *shape), generator=generator).to(torch.uint8)
    return image, label, torch.arange(size) * 17 + 3


@pytest.fixture(params=[(12, 16, 10), (20, 24)], ids=["3d", "2d"])
def case(request):
    return Augment(len(request.param), AugmentSettings(strength=2.0)), batch(shape=request.param)


def test_the_same_keys_give_the_same_batch(case):
    augment, (image, label, keys) = case
    first, second = augment(image, label, keys), augment(image, label, keys)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    other = augment(image, label, keys + 1)
    assert not torch.equal(first[0], other[0])


def test_permuting_the_batch_permutes_the_output(case):
    augment, (image, label, keys) = case
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    straight, shuffled = augment(image, label, keys), augment(image[order], label[order], keys[order])
    torch.testing.assert_close(shuffled[0], straight[0][order], atol=1e-5, rtol=1e-5)
    assert torch.equal(shuffled[1], straight[1][order])


def test_a_sample_alone_fares_as_in_a_batch(case):
    augment, (image, label, keys) = case
    together = augment(image, label, keys)
    for i in range(len(keys)):
        alone = augment(image[i : i + 1], label[i : i + 1], keys[i : i + 1])
        torch.testing.assert_close(alone[0][0], together[0][i], atol=1e-5, rtol=1e-5)
        assert torch.equal(alone[1][0], together[1][i])


def test_labels_keep_their_dtype_and_gain_no_value(case):
    augment, (image, label, keys) = case
    moved = augment(image, label * 3, keys)[1]
    assert moved.dtype == torch.uint8
    assert set(moved.unique().tolist()) <= {0, 3, 6, 9}


def test_inputs_are_left_alone(case):
    augment, (image, label, keys) = case
    before = image.clone(), label.clone()
    augment(image, label, keys)
    assert torch.equal(image, before[0])
    assert torch.equal(label, before[1])


def test_no_strength_is_the_identity_and_a_copy():
    image, label, keys = batch()
    same, same_label = Augment(3, AugmentSettings(strength=0.0))(image, label, keys)
    assert torch.equal(same, image)
    assert torch.equal(same_label, label)
    assert same.data_ptr() != image.data_ptr()
    assert same_label.data_ptr() != label.data_ptr()


def test_mirrors_move_image_and_label_together_without_loss():
    image, label, keys = batch(size=16)
    settings = replace(STILL, mirror=0.5, mirror_axes=(0, 2))
    moved, moved_label = Augment(3, settings)(image, label, keys)
    seen = set()
    for i in range(16):
        (axes,) = [a for a in ((), (1,), (3,), (1, 3)) if torch.equal(moved[i], image[i].flip(a))]
        assert torch.equal(moved_label[i], label[i].flip(axes))
        seen.add(axes)
    assert seen == {(), (1,), (3,), (1, 3)}


def test_an_intensity_change_leaves_labels_and_geometry_alone():
    image, label, keys = batch()
    settings = replace(STILL, brightness=Chance(1, 0.75, 1.25))
    moved, moved_label = Augment(3, settings)(image, label, keys)
    assert torch.equal(moved_label, label)
    factor = (moved / image).flatten(2)
    assert factor.std(2).max() < 1e-4
    assert factor.mean(2).unique().numel() == 12  # every channel of every sample has its own


def test_half_precision_and_autocast_do_not_lower_the_precision(case):
    augment, (image, label, keys) = case
    expected = augment(image, label, keys)[0]
    with torch.autocast("cpu", torch.bfloat16):
        inside = augment(image, label, keys)[0]
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
    assert augment(image.to(torch.bfloat16), label, keys)[0].dtype == torch.float32


def test_everything_at_once_stays_finite():
    image, label, keys = batch(size=8)
    image[0], image[1] = 0.0, 1e6
    changed, _ = Augment(3, AugmentSettings(strength=100))(image, label, keys)
    assert changed.isfinite().all()


def test_non_contiguous_input_is_welcome():
    image, label, keys = batch()
    wide = Augment(3)(image.transpose(2, 3), label.transpose(2, 3), keys)
    tight = Augment(3)(image.transpose(2, 3).contiguous(), label.transpose(2, 3).contiguous(), keys)
    assert torch.equal(wide[0], tight[0])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda image, label, keys: (image[:, :, 0], label[:, :, 0], keys),
            r"image \(B, C, \*S\) with 3 spatial axes",
        ),
        (lambda image, label, keys: (image, label[:, :, 1:], keys), r"label \(B, 1, \*S\)"),
        (lambda image, label, keys: (image, label, keys[1:]), r"keys \(B,\)"),
        (
            lambda image, label, keys: (image, label.float(), keys),
            "expected integer label and keys, got torch.float32",
        ),
    ],
)
def test_wrong_shapes_and_types_are_refused(change, text):
    with pytest.raises(ShapeError, match=text):
        Augment(3)(*change(*batch()))


def test_other_dimensions_are_refused():
    with pytest.raises(ConfigError, match="spatial_dims"):
        Augment(4)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu_and_does_not_wait():
    settings = AugmentSettings(strength=2.0, noise_std=OFF)
    augment = Augment(3, settings)
    image, label, keys = batch(size=9, shape=(40, 56, 40), channels=1)
    expected, expected_label = augment(image, label, keys)
    on_device = image.cuda(), label.cuda()
    torch.cuda.synchronize()
    with no_waiting():
        changed, moved = augment(*on_device, keys)
    torch.testing.assert_close(changed.cpu(), expected, atol=1e-3, rtol=1e-3)
    assert np.mean((moved.cpu() != expected_label).numpy()) < 1e-4
