"""The surfel convention held against MONAI's areas and its surface Dice on sub-voxels, all pairs, and known areas."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_surface_dice
from monai.metrics.utils import get_code_to_measure_table
from scipy.spatial.distance import cdist
from test_golden_vectors import (
    ball,
    ball_and_island,
    block,
    row_and_pixel,
    shifted_sheet,
    shifted_square,
    square_in_square,
    square_with_hole,
    two_voxels,
)

from medconv.metrics import (
    SurfaceConvention,
    SurfaceDistances,
    label_surface_distances,
    measure_case,
    surface_distances,
)
from medconv.metrics.surfels import cell_areas, find_surfels

Mask = npt.NDArray[np.bool_]
SURFEL = SurfaceConvention("surfel")


def measured(pred: Mask, ref: Mask, spacing_mm: object = 1) -> SurfaceDistances:
    return surface_distances(pred, ref, spacing_mm, SURFEL)


@st.composite
def pairs(draw: st.DrawFn, axes: tuple[int, int] = (2, 3)) -> tuple[Mask, Mask, tuple[float, ...]]:
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=axes[0], max_size=axes[1])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pred, ref = rng.random((2, *shape)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    pred.flat[0] = ref.flat[-1] = True
    return pred, ref, tuple(draw(st.sampled_from([0.7, 1.0, 3.0])) for _ in shape)


@pytest.mark.parametrize(
    "spacing_mm", [(1.0, 1.0, 1.0), (2.0, 0.7, 1.3), (0.8, 0.8, 3.0), (1.0, 1.0), (2.0, 0.5)], ids=str
)
def test_areas_equal_monais(spacing_mm: tuple[float, ...]) -> None:
    table, _ = get_code_to_measure_table(spacing_mm, device="cpu")
    np.testing.assert_allclose(cell_areas(spacing_mm), np.asarray(table), rtol=1e-6)


def test_areas_of_known_shapes() -> None:
    eighth = sqrt(3) / 8  # one corner cut off a unit cell
    single = find_surfels(np.ones((1, 1, 1), np.uint8), (1,) * 3, (1.0,) * 3, ((False, False),) * 3)
    assert single[1].sum() == pytest.approx(8 * eighth)
    box = find_surfels(np.ones((11, 21, 31), np.uint8), (1,) * 3, (2.0, 1.0, 0.5), ((False, False),) * 3)
    flat = np.isclose(box[1], [[1 * 0.5], [2 * 0.5], [2 * 1]]).any(0)
    assert flat.sum() == 2 * (20 * 30 + 10 * 30 + 10 * 20)
    sphere = find_surfels(ball(48, 24, 20).view(np.uint8), (1,) * 3, (1.0,) * 3, ((False, False),) * 3)
    assert 1.0 < sphere[1].sum() / (4 * pi * 20**2) < 1.1


# hd, hd95, assd, (tolerance, share)
@pytest.mark.parametrize(
    ("make", "spacing_mm", "expected", "within"),
    [
        pytest.param(two_voxels, 1, (5, 5, 4.330082), (1, 0), id="G1"),
        pytest.param(shifted_square, 1, (3, 3, 1.5), (1, 0.5), id="G3"),
        pytest.param(shifted_square, (2.0, 0.5), (6, 6, 1.417242), (1, 0.652678), id="G3b"),
        pytest.param(square_in_square, 1, (sqrt(8), None, 2.060751), (2, 0.844546), id="G4"),
        pytest.param(shifted_sheet, (5, 0.7, 0.7), (20, 20, 17.5), (1, 0), id="G6"),
        pytest.param(square_with_hole, 1, (5, 5, 0.340), (1, 0.932), id="G7"),
        pytest.param(row_and_pixel, 1, (None, 9.0, None), (1, None), id="G8"),
        pytest.param(ball_and_island, 1, (None, 24.248711, 0.846), (1, 0.967), id="G9"),
    ],
)
def test_golden_vectors(
    make: object, spacing_mm: object, expected: tuple[float | None, ...], within: tuple[float, float | None]
) -> None:
    d = measured(*make(), spacing_mm)  # type: ignore[operator]
    found = (d.hausdorff_mm(), d.hausdorff_mm(95), d.assd_mm(), d.within(within[0]))
    for value, known in zip(found, (*expected, within[1]), strict=True):
        if known is not None:
            digits = 1e-6 if known != round(known, 3) else 5.1e-4
            assert value == pytest.approx(known, abs=digits)


def test_published_figures_of_balls() -> None:
    d = measured(ball(24, 12, 8), ball(24, 12, 6))
    assert (d.hausdorff_mm(), d.assd_mm(), d.within(1)) == pytest.approx((2.236, 1.549, 0.175), abs=6e-4)
    organ = ball(32, 16, 10)
    pooled = surface_distances(*row_and_pixel(), 1, SURFEL).hausdorff_mm(95, "pooled")
    assert pooled == 0
    assert measured(organ, organ).assd_mm() == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")  # a deprecation inside MONAI
@settings(max_examples=30)
@given(pairs(), st.sampled_from([0.0, 0.5, 1.0, 2.2]))
def test_the_share_within_equals_monais_on_sub_voxels(
    drawn: tuple[Mask, Mask, tuple[float, ...]], tolerance_mm: float
) -> None:
    pred, ref, spacing_mm = drawn
    pair = [torch.from_numpy(m[None, None]).float() for m in (pred, ref)]
    expected = compute_surface_dice(
        *pair, [tolerance_mm], include_background=True, spacing=list(spacing_mm), use_subvoxels=True
    )
    assert measured(*drawn).within(tolerance_mm) == pytest.approx(expected.item(), abs=2e-6)


@settings(max_examples=40)
@given(pairs(axes=(1, 3)))
def test_every_distance_equals_brute_force(drawn: tuple[Mask, Mask, tuple[float, ...]]) -> None:
    pred, ref, spacing_mm = drawn
    places = []
    for mask in (pred, ref):
        cells = np.lib.stride_tricks.sliding_window_view(np.pad(mask, 1), (2,) * mask.ndim)
        inside = cells.sum(axis=tuple(range(mask.ndim, 2 * mask.ndim)))
        places.append(np.argwhere((inside > 0) & (inside < 2**mask.ndim)) * np.array(spacing_mm))
    between = cdist(*places)
    d = measured(*drawn)
    np.testing.assert_allclose(d.pred_to_ref_mm, between.min(axis=1), rtol=1e-12)
    np.testing.assert_allclose(d.ref_to_pred_mm, between.min(axis=0), rtol=1e-12)


@pytest.mark.slow
@settings(max_examples=25)
@given(pairs(axes=(3, 3)))
def test_neither_direction_nor_order_of_axes_matters(drawn: tuple[Mask, Mask, tuple[float, ...]]) -> None:
    pred, ref, spacing_mm = drawn

    def figures(a: Mask, b: Mask, mm: tuple[float, ...]) -> list[float]:
        d = measured(a, b, mm)
        return [d.hausdorff_mm(), d.assd_mm(), d.masd_mm(), d.within(1)]

    expected = figures(pred, ref, spacing_mm)
    np.testing.assert_allclose(figures(ref, pred, spacing_mm), expected, rtol=1e-12)
    np.testing.assert_allclose(figures(pred[::-1], ref[::-1], spacing_mm), expected, rtol=1e-12)
    turned = (np.moveaxis(m, 0, -1) for m in (pred, ref))
    np.testing.assert_allclose(figures(*turned, (*spacing_mm[1:], spacing_mm[0])), expected, rtol=1e-12)
    padded = (np.pad(m, 2) for m in (pred, ref))
    np.testing.assert_allclose(figures(*padded, spacing_mm), expected, rtol=1e-12)


def test_each_label_is_measured_as_alone(rng: np.random.Generator) -> None:
    ref = np.kron(rng.integers(0, 4, (3, 4, 3)), np.ones((3, 3, 3), int))
    pred = np.roll(ref, 1, axis=1)
    ref[ref == 3] = 0
    for convention in (SURFEL, SurfaceConvention("surfel", edge="ignore")):
        together = label_surface_distances(pred, ref, (2, 1, 1), convention)
        assert list(together) == [1, 2, 3]
        for label, d in together.items():
            alone = surface_distances(pred == label, ref == label, (2, 1, 1), convention)
            np.testing.assert_array_equal(d.pred_to_ref_mm, alone.pred_to_ref_mm)
            np.testing.assert_array_equal(d.ref_area, alone.ref_area)
        assert np.isinf(together[3].hausdorff_mm())
        assert together[3].within(1) == 0


def test_elements_that_stick_out_of_the_image_can_be_left_out() -> None:
    mask = block((6, 8, 8), (0, 4), (2, 6), (2, 6))
    ignoring = SurfaceConvention("surfel", edge="ignore")
    inside = surface_distances(mask, mask, 1, ignoring)
    # the plane at the low end of the first axis, 5 x 5 elements
    assert len(inside.pred_to_ref_mm) == len(measured(mask, mask).pred_to_ref_mm) - 25
    lifted = np.roll(mask, 1, axis=0)
    lifted[0] = False
    assert len(surface_distances(lifted, lifted, 1, ignoring).pred_area) == len(
        measured(mask, mask).pred_area
    )
    everything = np.ones((4, 4), bool)
    assert np.isnan(surface_distances(everything, everything, 1, ignoring).hausdorff_mm())


def test_a_case_is_measured_in_the_convention_that_is_asked() -> None:
    pred, ref = (m.astype(np.uint8) for m in square_with_hole())
    (plain,) = measure_case("a", pred, ref, 1, {1: "organ"})
    (surfels,) = measure_case("a", pred, ref, 1, {1: "organ"}, convention=SURFEL)
    assert (plain.hd_mm, surfels.hd_mm) == (4, 5)
    island, row = (m.astype(np.uint8) for m in row_and_pixel())
    pooled = SurfaceConvention(directions="pooled")
    (measured_so,) = measure_case("a", island, row, 1, {1: "organ"}, convention=pooled)
    assert measured_so.hd95_mm == 0
