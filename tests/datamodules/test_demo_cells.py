"""Synthetic cells: repeatable, whole, touching, of many shapes, in light that no threshold undoes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medconv.datamodules.demo_cells import DemoImage, draw_cells


@pytest.fixture(scope="module")
def images() -> list[DemoImage]:
    return [draw_cells(0, number) for number in range(8)]


def test_the_same_numbers_give_the_same_image(images: list[DemoImage]) -> None:
    again = draw_cells(0, 5)
    np.testing.assert_array_equal(again.image, images[5].image)
    np.testing.assert_array_equal(again.label, images[5].label)
    assert not np.array_equal(draw_cells(1, 5).label[:130, :160], again.label[:130, :160])


def test_every_cell_is_one_piece_with_a_number_of_its_own(images: list[DemoImage]) -> None:
    for drawn in images:
        numbers = np.unique(drawn.label)
        assert numbers.tolist() == list(range(len(numbers)))
        assert 15 < len(numbers) < 60
        for number in numbers[1:]:
            assert ndimage.label(drawn.label == number)[1] == 1
        assert (drawn.image.dtype, drawn.label.dtype) == (np.uint16, np.uint16)
        assert drawn.image.shape == drawn.label.shape


def test_many_cells_touch(images: list[DemoImage]) -> None:
    """Fewer pieces than cells: a mask of all cells does not tell them apart."""
    pieces = sum(ndimage.label(drawn.label > 0)[1] for drawn in images)
    cells = sum(int(drawn.label.max()) for drawn in images)
    assert pieces < 0.6 * cells


def test_sizes_and_poses_vary(images: list[DemoImage]) -> None:
    assert len({drawn.image.shape for drawn in images}) > 4
    angles, areas = [], []
    for drawn in images:
        for box, number in zip(ndimage.find_objects(drawn.label), range(1, 100), strict=False):
            y, x = np.nonzero(drawn.label[box] == number)
            if len(y) > 50:
                (a, b), (_, d) = np.cov(np.stack([y, x]))
                angles.append(0.5 * np.degrees(np.arctan2(2 * b, a - d)) % 180)
                areas.append(len(y))
    counts, _ = np.histogram(angles, bins=6, range=(0, 180))
    assert counts.min() > 0.3 * counts.mean()
    assert max(areas) > 3 * min(areas)


def test_noise_is_that_of_counted_photons(images: list[DemoImage]) -> None:
    """The variance grows with the brightness, which it does not where noise is added."""
    for drawn in images:
        counts = drawn.image.astype(float)
        mean = ndimage.gaussian_filter(counts, 4)
        rough = counts - ndimage.gaussian_filter(counts, 1)
        dark, bright = (
            rough[mean < np.quantile(mean, 0.2)].var(),
            rough[mean > np.quantile(mean, 0.8)].var(),
        )
        assert bright > 1.5 * dark


def test_no_threshold_finds_the_cells(images: list[DemoImage]) -> None:
    """The best one, chosen with the truth in hand and the noise taken out, stays away from a segmentation."""
    best = []
    for drawn in images:
        smooth, truth = ndimage.gaussian_filter(drawn.image.astype(float), 1.5), drawn.label > 0
        scores = [
            2 * (truth & (smooth > t)).sum() / (truth.sum() + (smooth > t).sum())
            for t in np.quantile(smooth, np.linspace(0.2, 0.9, 30))
        ]
        best.append(max(scores))
    assert np.mean(best) < 0.93
