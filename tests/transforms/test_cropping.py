"""A volume with zeros around it is prepared as one without, and its answer comes back to the whole grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medconv.datamodules.record_json import record_from_json, record_to_json
from medconv.io import volume_from_array
from medconv.io.geometry import crop_geometry
from medconv.planning import Plan
from medconv.planning.nonzero import body_mask
from medconv.transforms.normalize import normalize
from medconv.transforms.normalize_tensor import normalize_tensor
from medconv.transforms.preprocess import Preprocessor

WIDTHS = [(0, 0), (2, 1), (0, 3), (4, 0)]
INSIDE = (slice(None), slice(2, 12), slice(0, 9), slice(4, 10))
SHAPE = (2, 10, 9, 6)
PLAN = Plan(
    3,
    ("T1", "T2"),
    {0: "background", 1: "a", 2: "b"},
    (1.0, 1.0, 1.0),
    (4, 4, 4),
    ("zscore", "percentile"),
    crop_to_nonzero=True,
)


def volumes(seed=0, spacing_mm=(1.0, 1.0, 2.0), order="C"):
    """One that touches its border, and the same with zeros around it."""
    data = np.random.default_rng(seed).normal(100, 30, SHAPE).astype(np.float32)
    data[:, 3:6, 3:6, 2:4] = 0  # a hole
    plain = volume_from_array(data, spacing_mm)
    wide = volume_from_array(np.pad(data, WIDTHS), spacing_mm)
    geometry = crop_geometry(plain.geometry, [-low for low, _ in WIDTHS[1:]])
    return tuple(
        replace(v, data=np.asarray(v.data, order=order), geometry=g)
        for v, g in ((plain, plain.geometry), (wide, geometry))
    )


@pytest.mark.parametrize("orientation", ["RAS", "PIL"])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_zeros_around_a_volume_do_not_change_what_the_network_sees(orientation, is_masked, order):
    prepare = Preprocessor(replace(PLAN, orientation=orientation, masked_normalization=is_masked))
    (image, record), (wide_image, wide) = (prepare.apply(v) for v in volumes(order=order))
    assert torch.equal(image, wide_image)
    assert wide.work_shape == record.work_shape
    np.testing.assert_allclose(wide.work_geometry.affine, record.work_geometry.affine, atol=1e-12)
    assert record.box is None
    assert wide.box == ((2, 12), (0, 9), (4, 10))
    uncropped = Preprocessor(replace(PLAN, orientation=orientation, crop_to_nonzero=False))
    assert uncropped.apply(volumes()[1])[0].shape != image.shape


@pytest.mark.parametrize("orientation", ["RAS", "PIL"])
def test_labels_go_and_come_with_their_volume(orientation):
    prepare = Preprocessor(replace(PLAN, orientation=orientation))
    labels = np.random.default_rng(3).integers(0, 3, (1, *SHAPE[1:])).astype(np.uint8)
    plain, wide = volumes()
    prepared = []
    for volume, data in ((plain, labels), (wide, np.pad(labels, [(0, 0), *WIDTHS[1:]]))):
        record = prepare.record(volume)
        prepared.append(prepare.apply_label(replace(volume, data=data), record))
    assert torch.equal(*prepared)


@pytest.mark.parametrize("orientation", ["RAS", "PIL"])
@pytest.mark.parametrize("regions", [{}, {"all": (1, 2), "core": (2,)}])
def test_answers_come_back_to_the_whole_grid_with_background_around(orientation, regions):
    order = (1, 2) if regions else ()
    plan = replace(PLAN, orientation=orientation, regions=regions, regions_class_order=order)
    prepare = Preprocessor(plan)
    plain, wide = (prepare.record(v) for v in volumes())
    torch.manual_seed(0)
    logits = torch.randn(plan.num_classes, *plain.work_shape)
    labels = prepare.restore(logits, plain)
    filled = np.full((plan.num_classes, *wide.shape), 9.0, np.float32)
    whole = prepare.restore(logits, wide, filled)
    assert whole.shape == wide.shape
    np.testing.assert_array_equal(whole[INSIDE[1:]], labels)
    assert whole.sum() == labels.sum()  # nothing around it
    np.testing.assert_array_equal(filled[INSIDE], prepare.restore_scores(logits, plain))
    around = np.ones(wide.shape, bool)
    around[INSIDE[1:]] = False
    np.testing.assert_array_equal(np.unique(filled[1:, around]), [0])
    np.testing.assert_array_equal(np.unique(filled[0, around]), [0 if regions else 1])


def test_a_record_travels_with_its_box():
    for volume in volumes():
        record = Preprocessor(PLAN).record(volume)
        assert record_from_json(record_to_json(record)).box == record.box
        np.testing.assert_allclose(record.kept_geometry.affine, volumes()[0].geometry.affine, atol=1e-12)
        assert record.kept_shape == SHAPE[1:]


@pytest.mark.parametrize("kind", ["zscore", "percentile"])
def test_a_mask_is_all_that_mean_and_deviation_see(kind):
    data = volumes()[1].data[:1]
    mask = body_mask(data)
    scaled = normalize(data, [kind], [None], mask=mask)
    assert mask.sum() == 10 * 9 * 6  # the hole counts
    np.testing.assert_array_equal(scaled[0, ~mask], 0)
    inside = data[0, mask].astype(np.float64)
    if kind == "percentile":
        inside = np.clip(inside, *np.percentile(inside, (0.5, 99.5)))
    np.testing.assert_allclose(scaled[0, mask], (inside - inside.mean()) / inside.std(), atol=1e-5)
    on_device = normalize_tensor(torch.from_numpy(data), [kind], [None], mask=torch.from_numpy(mask))
    np.testing.assert_allclose(on_device.numpy(), scaled, atol=1e-5)


def test_a_mask_does_not_touch_what_is_scaled_alike_everywhere():
    data = volumes()[1].data[:1]
    plain = normalize(data, ["none"], [None])
    np.testing.assert_array_equal(normalize(data, ["none"], [None], mask=body_mask(data)), plain)


def test_a_volume_of_zeros_is_kept_whole():
    empty = volume_from_array(np.zeros(SHAPE, np.float32), (1.0, 1.0, 1.0))
    for is_masked in (False, True):
        prepare = Preprocessor(replace(PLAN, masked_normalization=is_masked))
        with pytest.warns(UserWarning, match="every voxel is 0; set to 0"):
            image, record = prepare.apply(empty)
        assert image.shape == SHAPE
        assert record.box is None


@pytest.mark.gpu
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_gpu_crops_and_scales_as_a_cpu_does(is_masked):
    prepare = Preprocessor(replace(PLAN, masked_normalization=is_masked))
    for volume in volumes(order="F"):
        expected, _ = prepare.apply(volume)
        image, _ = prepare.apply(volume, torch.device("cuda"))
        torch.testing.assert_close(image.cpu(), expected, atol=1e-4, rtol=1e-4)
