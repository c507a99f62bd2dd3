"""Synthetic scans: repeatable, varied, real in geometry, and not solvable by brightness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from medconv.datamodules.demo_volumes import draw_volume


@pytest.fixture(scope="module")
def scans():
    return [draw_volume(0, number) for number in range(8)]


def test_the_same_numbers_give_the_same_scan(scans):
    again = draw_volume(0, 5)
    np.testing.assert_array_equal(again.image, scans[5].image)
    np.testing.assert_array_equal(again.label, scans[5].label)
    np.testing.assert_array_equal(again.affine, scans[5].affine)
    assert not np.array_equal(draw_volume(1, 5).affine, again.affine)


def test_both_structures_are_whole_and_touch(scans):
    for scan in scans:
        for value in (1, 2):
            _, parts = ndimage.label(scan.label == value, np.ones((3, 3, 3)))
            assert parts == 1
            assert (scan.label == value).sum() > 300
        assert (ndimage.binary_dilation(scan.label == 1) & (scan.label == 2)).sum() > 100
        border = np.ones(scan.label.shape, bool)
        border[1:-1, 1:-1, 1:-1] = False
        assert not scan.label[border].any()


def test_the_crescent_is_bent_round_the_core(scans):
    """The crescent's centre of mass lies further from the centre of the bend, beyond the core's."""
    for scan in scans:
        mm = [np.argwhere(scan.label == value) * scan.spacing_mm for value in (1, 2)]
        apart = mm[0].mean(0) - mm[1].mean(0)
        tips = mm[0][np.argsort(mm[0] @ apart)[:50]].mean(0)
        # the ends of a crescent reach back over the core's middle, those of an ellipsoid would not
        assert (tips - mm[1].mean(0)) @ apart < 0.1 * apart @ apart


def test_affines_are_oblique_anisotropic_and_differ(scans):
    for scan in scans:
        spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
        np.testing.assert_allclose(spacing, scan.spacing_mm)
        directions = scan.affine[:3, :3] / spacing
        np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-12)
        assert spacing[2] > 1.3 * spacing[:2].max()
    assert len({np.sign(np.diag(scan.affine))[:3].tobytes() for scan in scans}) > 2
    assert len({scan.image.shape for scan in scans}) > 4


def test_images_are_magnitudes_with_noise(scans):
    for scan in scans:
        assert scan.image.dtype == np.float32
        assert scan.image.min() >= 0
        corner = scan.image[:3, :3, :3]  # air: Rayleigh noise never vanishes
        assert corner.std() > 5


def test_no_window_of_brightness_finds_a_structure(scans):
    """The best of all windows, chosen with the truth in hand, stays far from a segmentation."""
    edges = np.arange(0, 1000, 10)
    low, high = np.triu_indices(len(edges), k=1)
    for value in (1, 2):
        scores = np.zeros(len(low))
        for scan in scans:
            everywhere, inside = (
                np.concatenate([[0], np.histogram(voxels, edges)[0].cumsum()])
                for voxels in (scan.image, scan.image[scan.label == value])
            )
            hits, chosen = inside[high] - inside[low], everywhere[high] - everywhere[low]
            scores += 2 * hits / (chosen + inside[-1]) / len(scans)
        assert 0.3 < scores.max() < 0.6
