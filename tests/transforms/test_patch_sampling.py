"""Patches against scipy's affine transform, slices of padded volumes, and distances in millimetres."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from gpu_waiting import no_waiting
from scipy import ndimage

from medconv.errors import ShapeError
from medconv.transforms.augment_spatial import rotation_matrix, voxel_matrix
from medconv.transforms.patch_sampling import PackedVolumes, sample_patches, sample_turned_patch

CPU = torch.device("cpu")


def one_turned(image, label, rotation, scale, spacing_mm, start=None, patch=None):
    """The window ``start``, ``patch`` (default: all) of one volume, turned."""
    patch = patch or image.shape
    matrix = torch.tensor(voxel_matrix(rotation, scale, spacing_mm), dtype=torch.float32)[None]
    volumes = PackedVolumes.of([image[None].astype(np.float32)], [label[None]], CPU)
    starts = torch.tensor([start or [0] * image.ndim])
    zero = torch.zeros(1, dtype=torch.int64)
    moved, moved_label = sample_patches(volumes, zero, starts, patch, (zero, matrix))
    return moved[0, 0].numpy(), moved_label[0, 0].numpy()


def scipy_one(array, rotation, scale, spacing_mm, order, start=None, patch=None):
    patch = patch or array.shape
    spacing = np.diag(spacing_mm)
    matrix = np.linalg.inv(spacing) @ (scale * rotation) @ spacing
    middle = (np.array(patch) - 1) / 2
    return ndimage.affine_transform(
        array,
        matrix,
        np.array(start or [0] * array.ndim) + middle - matrix @ middle,
        output_shape=patch,
        order=order,
        mode="grid-constant",
    )


TURNS = [
    ((12, 17, 9), (1.0, 1.0, 1.0), (12, -25, 30), 1.0, None, None),
    ((12, 17, 9), (0.8, 1.1, 2.6), (30, 5, -18), 1.3, (-2, 4, 1), (9, 8, 11)),
    ((9, 9, 30), (3.0, 0.7, 0.7), (170, 0, 0), 0.77, (3, 2, 20), (4, 5, 6)),
    ((20, 31), (1.0, 1.0), (130,), 1.0, None, None),
    ((20, 31), (0.5, 2.0), (-40,), 1.2, (-5, 10), (40, 20)),
]


@pytest.mark.parametrize(("shape", "spacing_mm", "angles", "scale", "start", "patch"), TURNS)
def test_a_turned_patch_is_scipys_affine_transform_of_the_volume(
    shape, spacing_mm, angles, scale, start, patch
):
    rng = np.random.default_rng(0)
    image, label = rng.normal(size=shape), rng.integers(0, 4, shape).astype(np.uint8)
    turn = rotation_matrix(angles), scale, spacing_mm
    moved, moved_label = one_turned(image, label, *turn, start, patch)
    np.testing.assert_allclose(moved, scipy_one(image, *turn, 1, start, patch), atol=2e-5)
    scores = [scipy_one((label == value).astype(float), *turn, 1, start, patch) for value in (1, 2, 3)]
    expected = np.argmax([1 - sum(scores), *scores], axis=0)  # outside is background
    assert np.mean(moved_label != expected) < 1e-3  # float32 may round a tie the other way
    assert moved_label.dtype == np.uint8


@pytest.mark.parametrize(("shape", "spacing_mm", "angles", "scale", "start", "patch"), TURNS)
def test_reading_only_what_a_patch_reaches_changes_nothing(shape, spacing_mm, angles, scale, start, patch):
    rng = np.random.default_rng(1)
    image, label = rng.normal(size=shape), rng.integers(0, 4, shape).astype(np.uint8)
    rotation, start, patch = rotation_matrix(angles), start or [0] * len(shape), patch or shape
    whole, whole_label = one_turned(image, label, rotation, scale, spacing_mm, start, patch)
    matrix = voxel_matrix(rotation, scale, spacing_mm)
    part, part_label = sample_turned_patch(image[None].astype(np.float32), label[None], start, patch, matrix)
    np.testing.assert_allclose(part[0].numpy(), whole, atol=2e-5)
    assert np.mean(part_label[0].numpy() != whole_label) < 1e-3


@pytest.mark.parametrize("dims", [2, 3])
def test_windows_of_many_volumes_are_slices_of_the_padded_volumes(dims):
    rng = np.random.default_rng(2)
    shapes = [(5, 9, 7)[:dims], (12, 3, 8)[:dims], (6, 6, 6)[:dims]]
    images = [rng.normal(size=(2, *shape)).astype(np.float32) for shape in shapes]
    labels = [rng.integers(0, 300, (1, *shape)).astype(np.int32) for shape in shapes]
    patch, pad = (6, 5, 4)[:dims], 9
    cases = rng.integers(0, 3, 20)
    starts = rng.integers(-6, 9, (20, dims))
    volumes = PackedVolumes.of(images, labels, CPU)
    sampled, moved = sample_patches(volumes, torch.tensor(cases), torch.tensor(starts), patch)
    for row, (case, start) in enumerate(zip(cases, starts, strict=True)):
        window = tuple(slice(s + pad, s + pad + p) for s, p in zip(start, patch, strict=True))
        for whole, got in ((images[case], sampled[row]), (labels[case], moved[row])):
            padded = np.pad(whole, [(0, 0)] + [(pad, pad + 6)] * dims)
            np.testing.assert_array_equal(got.numpy(), padded[(slice(None), *window)])
    assert (sampled.dtype, moved.dtype) == (torch.float32, torch.int32)
    assert sampled.is_contiguous()


def test_only_the_rows_that_are_named_are_turned():
    rng = np.random.default_rng(3)
    image, label = rng.normal(size=(1, 8, 8, 8)).astype(np.float32), rng.integers(0, 3, (1, 8, 8, 8))
    volumes = PackedVolumes.of([image], [label], CPU)
    cases, starts = (
        torch.zeros(4, dtype=torch.int64),
        torch.tensor([[0, 0, 0], [1, 2, 3], [0, 1, 0], [2, 2, 2]]),
    )
    plain, plain_label = sample_patches(volumes, cases, starts, (6, 6, 6))
    matrix = torch.tensor(rotation_matrix((20, 10, 30)), dtype=torch.float32)[None]
    some, some_label = sample_patches(volumes, cases, starts, (6, 6, 6), (torch.tensor([2]), matrix))
    for row in (0, 1, 3):
        assert torch.equal(some[row], plain[row])
        assert torch.equal(some_label[row], plain_label[row])
    assert not torch.equal(some[2], plain[2])


def test_a_patch_that_is_turned_by_nothing_keeps_every_bit():
    label = np.random.default_rng(0).integers(0, 4, (9, 8, 7)).astype(np.uint8)
    moved, moved_label = one_turned(label.astype(float), label, np.eye(3), 1.0, (1, 1, 1))
    np.testing.assert_array_equal(moved, label)
    np.testing.assert_array_equal(moved_label, label)


def test_equal_shares_go_to_the_smaller_label():
    label = np.array([[[3, 1, 0, 2, 5]] * 3])
    volumes = PackedVolumes.of([np.zeros((1, 3, 5), np.float32)], [label], CPU)
    zero = torch.zeros(1, dtype=torch.int64)
    # zoomed out twice, an odd patch keeps its centre voxel and the others fall half-way between two
    turned = zero, torch.tensor([[[1.0, 0.0], [0.0, 0.5]]])
    _, moved = sample_patches(volumes, zero, torch.tensor([[0, 0]]), (3, 5), turned)
    np.testing.assert_array_equal(moved[0, 0, 1], [1, 0, 0, 0, 2])


def test_a_quarter_turn_moves_voxels_without_loss():
    image = np.random.default_rng(1).normal(size=(7, 7, 5))
    moved, _ = one_turned(image, np.zeros((7, 7, 5), np.uint8), rotation_matrix((0, 0, 90)), 1.0, (1, 1, 3))
    np.testing.assert_allclose(moved, np.rot90(image, axes=(1, 0)), atol=1e-5)


def test_a_turned_window_inside_a_volume_has_no_empty_corners():
    image, label = np.ones((30, 30, 30)), np.ones((30, 30, 30), np.uint8)
    turn = rotation_matrix((25, -20, 30)), 1.3, (1, 1, 1)
    moved, moved_label = one_turned(image, label, *turn, start=[10, 10, 10], patch=(10, 10, 10))
    np.testing.assert_allclose(moved, 1, atol=1e-6)
    assert moved_label.all()


def test_distances_in_mm_survive_a_rotation_on_an_anisotropic_grid():
    spacing_mm = (1.0, 1.0, 2.5)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (41, 41, 17)), indexing="ij"), -1) * spacing_mm
    points = np.array([[20, 20, 8], [28, 20, 8], [20, 20, 11]]) * spacing_mm
    label = np.zeros(grid.shape[:-1], np.uint8)
    for i, point in enumerate(points):
        label[((grid - point) ** 2).sum(-1) < 9] = i + 1
    _, moved = one_turned(label.astype(float), label, rotation_matrix((30, 20, -25)), 1.0, spacing_mm)
    centres = np.array(ndimage.center_of_mass(moved > 0, moved, [1, 2, 3])) * spacing_mm
    for i, j in ((0, 1), (0, 2), (1, 2)):
        before, after = (np.linalg.norm(p[i] - p[j]) for p in (points, centres))
        assert after == pytest.approx(before, abs=0.5)


def test_scale_above_one_makes_structures_smaller():
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 1
    _, moved = one_turned(label.astype(float), label, np.eye(2), 1.25, (1, 1))
    assert moved.sum() == 16 * 16


def test_outside_is_background():
    image, label = np.ones((8, 8, 8)), np.ones((8, 8, 8), np.uint8)
    moved, moved_label = one_turned(image, label, np.eye(3), 1.4, (1, 1, 1))
    assert moved[0, 0, 0] == 0
    assert moved_label[0, 0, 0] == 0
    assert moved[4, 4, 4] == pytest.approx(1)
    assert moved_label[4, 4, 4] == 1


def test_volumes_and_labels_must_belong_together():
    image, label = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5), np.uint8)
    with pytest.raises(ShapeError, match=r"each with a label \(1, \*S\); got images of \[\(4, 4\)\]"):
        PackedVolumes.of([image], [label], CPU)
    with pytest.raises(ShapeError, match="expected at least one image"):
        PackedVolumes.of([], [], CPU)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu_and_does_not_wait():
    rng = np.random.default_rng(4)
    shapes = [tuple(rng.integers(30, 60, 3)) for _ in range(5)]
    images = [rng.normal(size=(1, *shape)).astype(np.float32) for shape in shapes]
    labels = [rng.integers(0, 3, (1, *shape)).astype(np.uint8) for shape in shapes]
    cases, starts = torch.arange(5), torch.tensor(list(product((-3, 4), repeat=3)))[:5]
    matrices = torch.tensor(
        np.stack([rotation_matrix((20, 10 * i, 5)) for i in range(3)]), dtype=torch.float32
    )
    rows = torch.tensor([0, 2, 4])
    expected = sample_patches(
        PackedVolumes.of(images, labels, CPU), cases, starts, (40, 56, 40), (rows, matrices)
    )
    volumes = PackedVolumes.of(images, labels, "cuda")
    on_device = [x.cuda() for x in (cases, starts, rows, matrices)]
    torch.cuda.synchronize()
    with no_waiting():
        got = sample_patches(volumes, *on_device[:2], (40, 56, 40), tuple(on_device[2:]))
    torch.testing.assert_close(got[0].cpu(), expected[0], atol=1e-4, rtol=1e-4)
    assert (got[1].cpu() != expected[1]).float().mean() < 1e-4
