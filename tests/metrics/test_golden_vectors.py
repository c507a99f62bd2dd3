"""Masks whose distances were worked out by hand or by comparing all pairs, each a trap that some library fell
into."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest
from surface_by_brute_force import distances_mm

from medconv.metrics import SegmentationTable, dice, iou, surface_distances

Mask = npt.NDArray[np.bool_]
Pair = tuple[Mask, Mask]
Make = Callable[[], Pair]


def block(shape: tuple[int, ...], *spans: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*span) for span in spans)] = True
    return mask


def ball(n: int, centre: int, radius: float) -> Mask:
    return ((np.indices((n, n, n)) - centre) ** 2).sum(0) <= radius**2


def two_voxels() -> Pair:
    return block((12,) * 3, (3, 4), (3, 4), (3, 4)), block((12,) * 3, (6, 7), (7, 8), (3, 4))


def shifted_square() -> Pair:
    square = block((32, 32), (8, 18), (8, 18))
    return square, np.roll(square, 3, axis=0)


def square_in_square() -> Pair:
    return block((15, 15), (4, 11), (4, 11)), block((15, 15), (2, 13), (2, 13))


def image_and_inset() -> Pair:
    shape = (10, 12, 14)
    return np.ones(shape, bool), block(shape, (1, 9), (1, 11), (1, 13))


def shifted_sheet() -> Pair:
    sheet = block((20, 20, 20), (5, 6), (2, 18), (2, 18))
    return sheet, np.roll(sheet, 4, axis=0)


def square_with_hole() -> Pair:
    square = block((20, 20), (4, 16), (4, 16))
    return square & ~block((20, 20), (9, 11), (9, 11)), square


def row_and_pixel() -> Pair:
    row = block((14, 22), (1, 2), (1, 20))
    return row | block((14, 22), (11, 12), (10, 11)), row


def ball_and_island() -> Pair:
    organ = ball(48, 18, 12)
    return organ | block((48,) * 3, *[(38, 43)] * 3), organ


def cube_and_bump() -> Pair:
    cube = block((9,) * 3, *[(3, 6)] * 3)
    return cube | block((9,) * 3, (6, 7), (4, 5), (4, 5)), cube


def wide_image() -> Pair:
    square = block((24, 40), (6, 16), (20, 32))
    return square, np.roll(square, 3, axis=1)


def tall_image() -> Pair:
    pred, ref = wide_image()
    return pred.T, ref.T


# hd, hd95, assd, share within tau
VECTORS = [
    pytest.param(two_voxels, 1, (5, 5, 5), (5, 1), id="G1"),
    pytest.param(two_voxels, 1, (5, 5, 5), (4.99, 0), id="G1 just not"),
    pytest.param(two_voxels, (2, 1, 1), (sqrt(52),) * 3, (7.2, 0), id="G1b"),
    pytest.param(shifted_square, 1, (3, 3, 1.5), (1, 0.5), id="G3"),
    pytest.param(shifted_square, (2.0, 0.5), (6, 6, 2.277778), (1, 0.5), id="G3b"),
    pytest.param(
        square_in_square,
        1,
        (sqrt(8), sqrt(8), (104 + 8 * sqrt(5) + 4 * sqrt(8)) / 64),
        (2, 0.8125),
        id="G4",
    ),
    pytest.param(image_and_inset, 1, (sqrt(3), sqrt(2), 1.046302), (1, 0.893333), id="G5"),
    pytest.param(image_and_inset, (3, 1, 1), (3.316625, 3.162278, 1.79839), (1, 0.56), id="G5 anisotropic"),
    pytest.param(shifted_sheet, (5, 0.7, 0.7), (20, 20, 20), (1, 0), id="G6"),
    pytest.param(square_with_hole, 1, (4, 4, 1 / 3), (1, 11 / 12), id="G7"),
    pytest.param(row_and_pixel, 1, (10, 0.5, 0.256410), (1, 0.974359), id="G8"),
    pytest.param(ball_and_island, 1, (30.033315, 25.416530, 0.892226), (1, 0.966415), id="G9"),
    pytest.param(cube_and_bump, (2, 1, 1), (2, 0, 0.057692), (1, 0.980769), id="G10"),
    pytest.param(wide_image, 1, (3, 3, 1.35), (1, 0.55), id="G13 wide"),
    pytest.param(tall_image, 1, (3, 3, 1.35), (1, 0.55), id="G13 tall"),
]


@pytest.mark.parametrize(("make", "spacing_mm", "expected", "within"), VECTORS)
def test_distances(
    make: Make, spacing_mm: object, expected: tuple[float, ...], within: tuple[float, float]
) -> None:
    pred, ref = make()
    d = surface_distances(pred, ref, spacing_mm)
    found = (d.hausdorff_mm(), d.hausdorff_mm(95), d.assd_mm(), d.within(within[0]))
    # the figures as they are written down have six digits; all pairs of voxels have them all
    assert found == pytest.approx((*expected, within[1]), abs=1e-6)
    forth, back = distances_mm(pred, ref, tuple(np.broadcast_to(np.float64(spacing_mm), pred.ndim)))
    both = np.concatenate([forth, back])
    percentile = max(np.percentile(side, 95) for side in (forth, back))
    share = (both <= within[0] * (1 + 1e-6)).mean()
    assert found == pytest.approx((both.max(), percentile, both.mean(), share), abs=1e-9)


@pytest.mark.parametrize("make", [row_and_pixel, ball_and_island], ids=["G8", "G9"])
def test_the_pooled_percentile_forgets_an_island(make: Make) -> None:
    d = surface_distances(*make(), 1)
    assert d.hausdorff_mm(95, "pooled") == 0
    assert d.hausdorff_mm(95, "directed_max") > 0


def test_pooled_percentile_of_g4() -> None:
    assert surface_distances(*square_in_square(), 1).hausdorff_mm(95, "pooled") == pytest.approx(2.739573)


def test_masd_of_g4_weighs_both_surfaces_alike() -> None:
    assert surface_distances(*square_in_square(), 1).masd_mm() == pytest.approx(2.065028, abs=1e-6)


@pytest.mark.parametrize("make", [two_voxels, shifted_square, image_and_inset], ids=["G1", "G3", "G5"])
@pytest.mark.parametrize("spacing_mm", [1, 0.35], ids=str)
def test_g2_a_mask_and_itself(make: Make, spacing_mm: float) -> None:
    mask, _ = make()
    d = surface_distances(mask, mask, spacing_mm)
    assert (d.hausdorff_mm(), d.hausdorff_mm(95), d.assd_mm(), d.within(0)) == (0, 0, 0, 1)
    assert dice(mask, mask, 2)[1] == 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(two_voxels, 0.0, id="G1"),
        pytest.param(shifted_square, 0.7, id="G3"),
        pytest.param(square_in_square, 0.576471, id="G4"),
        pytest.param(image_and_inset, 0.727273, id="G5"),
        pytest.param(square_with_hole, 0.985915, id="G7"),
        pytest.param(cube_and_bump, 54 / 55, id="G10"),
    ],
)
def test_dice(make: Make, expected: float) -> None:
    assert dice(*make(), 2)[1] == pytest.approx(expected, abs=1e-6)


def test_iou_of_g3() -> None:
    assert iou(*shifted_square(), 2)[1] == pytest.approx(7 / 13)


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 16)], ids=["2-D", "3-D"])
def test_g12_three_missed_cases_do_not_average_to_the_found_ones(shape: tuple[int, ...]) -> None:
    ref = block(shape, *[(4, 8)] * len(shape))
    found, nothing = np.roll(ref, 2, axis=0), np.zeros(shape, bool)
    diagonal_mm = sqrt(len(shape) * 15**2)
    table = SegmentationTable({1: "organ"})
    for i, pred in enumerate([found, found, nothing, nothing, nothing]):
        table.add(f"case_{i}", pred.astype(np.uint8), ref.astype(np.uint8), 1)
    (organ,) = table.summary().labels
    assert organ.mean_hd95_mm == pytest.approx((2 * 2 + 3 * diagonal_mm) / 5)
    assert (organ.n, organ.n_valid, organ.n_missed) == (5, 2, 3)


@pytest.mark.parametrize("step_mm", [0.7, 0.9, 1.1, 0.35, 0.8, 0.6, 1.3])
@pytest.mark.parametrize("voxels", range(1, 8))
def test_g14_a_distance_equal_to_the_tolerance_is_within_it(step_mm: float, voxels: int) -> None:
    pred, ref = np.zeros((2, 1, 1, 9), bool)
    pred[0, 0, 0], ref[0, 0, voxels] = True, True
    assert surface_distances(pred, ref, (1, 1, step_mm)).within(round(voxels * step_mm, 10)) == 1
