from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medconv.errors import BadImageError, ShapeError
from medconv.inference.statistics import Structure, measure_mask, measure_structures
from medconv.io import Volume, read_volume, volume_from_array, write_labels

NiftiFactory = Callable[..., Path]
NAMES = {0: "background", 1: "a", 2: "b", 3: "c"}


@pytest.fixture
def volume(rng: np.random.Generator, oblique_affine: np.ndarray) -> Volume:
    single = volume_from_array(rng.normal(size=(2, 7, 6, 5)), affine=oblique_affine)
    assert single.channels == 2
    return single


@pytest.mark.parametrize("shape", [(7, 6, 5), (1, 9, 4), (9, 4, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_is_scipys(
    rng: np.random.Generator, oblique_affine: np.ndarray, shape: tuple[int, ...], order: str
) -> None:
    volume = volume_from_array(rng.normal(size=(2, *shape)), affine=oblique_affine)
    labels = np.asarray(rng.integers(0, 4, shape), np.uint8, order=order)  # type: ignore[call-overload]
    probabilities = rng.random((4, *shape)).astype(np.float16)
    rows = measure_structures(labels, volume, NAMES, probabilities)
    assert [(row.label, row.name) for row in rows] == [(1, "a"), (2, "b"), (3, "c")]
    voxel_ml = np.linalg.det(oblique_affine[:3, :3]) / 1000
    for row in rows:
        mask = labels == row.label
        assert row.voxels == mask.sum()
        assert row.volume_ml == pytest.approx(mask.sum() * voxel_ml)
        assert row.mean_intensity == pytest.approx([ndimage.mean(c, mask) for c in volume.data], abs=1e-6)
        centre = oblique_affine @ [*ndimage.center_of_mass(mask), 1]
        assert row.centroid_mm == pytest.approx(centre[:3], abs=1e-4)
        assert row.mean_probability == pytest.approx(
            ndimage.mean(probabilities[row.label].astype(float), mask), abs=1e-6
        )


def test_an_absent_structure_has_a_row_without_a_place(volume: Volume) -> None:
    labels = np.zeros(volume.shape, np.uint8)
    labels[2, 3, 2] = 2
    absent, present, _ = measure_structures(labels, volume, NAMES)
    assert absent == Structure(1, "a", 0, 0.0, (), (), False)
    assert (present.voxels, present.touches_border, present.mean_probability) == (1, False, None)
    assert (
        measure_structures(labels * 0, volume, NAMES, np.zeros((4, *volume.shape)))[0].mean_probability
        is None
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, -1])
def test_each_face_is_border_and_the_volume_stays(volume: Volume, axis: int, end: int) -> None:
    labels = np.zeros(volume.shape, np.uint8)
    labels[2:4, 2:4, 2:4] = 1
    place = [3, 3, 3]
    place[axis] = end
    labels[tuple(place)] = 2
    inside, outside, _ = measure_structures(labels, volume, NAMES)
    assert (inside.touches_border, outside.touches_border) == (False, True)
    assert outside.volume_ml == pytest.approx(inside.volume_ml / inside.voxels)


def test_a_single_slice_is_no_border_but_its_rim_is() -> None:
    volume = volume_from_array(np.zeros((5, 6)), (1.0, 1.0))
    labels = np.zeros((5, 6, 1), np.uint8)
    labels[2, 2], labels[0, 3] = 1, 2
    assert [row.touches_border for row in measure_structures(labels, volume, NAMES)] == [False, True, False]


def test_a_mask_in_a_file_says_the_same(
    tiny_nifti: NiftiFactory, tmp_path: Path, rng: np.random.Generator
) -> None:
    scan = tiny_nifti("scan.nii.gz")
    volume = read_volume(scan)
    labels = rng.integers(0, 4, volume.shape).astype(np.uint8)
    write_labels(tmp_path / "mask.nii.gz", labels, volume, NAMES)
    assert measure_mask([scan], tmp_path / "mask.nii.gz", NAMES, 1) == measure_structures(
        labels, volume, NAMES
    )
    with pytest.raises(BadImageError, match=r"expected only the labels \[0, 1\]"):
        measure_mask([scan], tmp_path / "mask.nii.gz", {0: "background", 1: "a"}, 1)


def test_each_label_is_as_sure_as_the_region_that_writes_it(volume: Volume, rng: np.random.Generator) -> None:
    labels = rng.integers(0, 4, volume.shape).astype(np.uint8)
    regions = rng.random((2, *volume.shape)).astype(np.float16)
    first, second, third = measure_structures(labels, volume, NAMES, regions, regions_class_order=(3, 1))
    assert first.mean_probability == pytest.approx(regions[1][labels == 1].astype(float).mean(), abs=1e-6)
    assert third.mean_probability == pytest.approx(regions[0][labels == 3].astype(float).mean(), abs=1e-6)
    assert second.mean_probability is None
    with pytest.raises(ShapeError, match="expected probabilities of 4 labels, got 2"):
        measure_structures(labels, volume, NAMES, regions)
    with pytest.raises(ShapeError, match="expected probabilities of 3 regions, got 2"):
        measure_structures(labels, volume, NAMES, regions, regions_class_order=(1, 2, 3))
