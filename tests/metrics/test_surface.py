"""Surface distances held against all-pairs brute force, MONAI, and the laws of metric spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from surface_by_brute_force import distances_mm, surface

from medconv.errors import ConfigError, GeometryError, ShapeError
from medconv.metrics import (
    SurfaceConvention,
    SurfaceDistances,
    hausdorff_mm,
    label_surface_distances,
    nearest,
    surface_distances,
)

Mask = npt.NDArray[np.bool_]
SPACINGS = st.sampled_from([0.35, 0.7, 1.0, 1.5, 2.0, 3.3, 5.0])


@st.composite
def volumes(draw: st.DrawFn, masks: int = 2) -> tuple[list[Mask], tuple[float, ...]]:
    """Non-empty masks on one random grid of 2 or 3 axes: blocks, speckle, or both."""
    shape = tuple(draw(st.lists(st.integers(1, 9), min_size=2, max_size=3)))
    spacing_mm = tuple(draw(SPACINGS) for _ in shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    drawn = []
    for _ in range(masks):
        mask = rng.random(shape) < draw(st.sampled_from([0.0, 0.02, 0.3, 0.8, 1.0]))
        low = [int(rng.integers(n)) for n in shape]
        mask[tuple(slice(a, a + int(rng.integers(1, 6))) for a in low)] = True
        drawn.append(mask)
    return drawn, spacing_mm


def figures(pred: Mask, ref: Mask, spacing_mm: Any) -> list[float]:
    d = surface_distances(pred, ref, spacing_mm)
    return [
        d.hausdorff_mm(),
        d.hausdorff_mm(95),
        d.hausdorff_mm(95, "pooled"),
        d.assd_mm(),
        d.masd_mm(),
        d.within(1.0),
    ]


@settings(max_examples=100)
@given(volumes())
def test_every_distance_equals_brute_force(drawn: tuple[list[Mask], tuple[float, ...]]) -> None:
    (pred, ref), spacing_mm = drawn
    ours = surface_distances(pred, ref, spacing_mm)
    forth, back = distances_mm(pred, ref, spacing_mm)
    np.testing.assert_allclose(ours.pred_to_ref_mm, forth, rtol=1e-12)
    np.testing.assert_allclose(ours.ref_to_pred_mm, back, rtol=1e-12)


@settings(max_examples=60)
@given(volumes(), st.sampled_from([0, 3.7, 50, 95, 99.9, 100]))
def test_percentiles_equal_numpy_and_are_the_same_without_the_far_distances(
    drawn: tuple[list[Mask], tuple[float, ...]], percentile: float
) -> None:
    (pred, ref), spacing_mm = drawn
    forth, back = distances_mm(pred, ref, spacing_mm)
    expected = max(np.percentile(forth, percentile), np.percentile(back, percentile))
    ours = surface_distances(pred, ref, spacing_mm)
    assert ours.hausdorff_mm(percentile) == pytest.approx(expected, rel=1e-12)
    assert hausdorff_mm(pred, ref, spacing_mm, percentile) == ours.hausdorff_mm(percentile)
    pooled = np.percentile(np.concatenate([forth, back]), percentile)
    assert ours.hausdorff_mm(percentile, "pooled") == pytest.approx(pooled, rel=1e-12)
    assert hausdorff_mm(pred, ref, spacing_mm, percentile, "pooled") == pytest.approx(pooled, rel=1e-12)


def test_an_island_that_a_percentile_does_not_see_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    pred = np.zeros((40, 40, 40), bool)
    pred[2:20, 2:20, 2:20] = True
    ref = np.roll(pred, 1, axis=0)
    pred[36:38, 36:38, 36:38] = True
    expected = surface_distances(pred, ref, 1).hausdorff_mm(95)
    for name in ("_search_tree", "_search_all"):
        monkeypatch.delattr(nearest, name)
    assert hausdorff_mm(pred, ref, 1, 95) == expected == 1


@pytest.mark.parametrize("ring_voxels", [1, 30, 10_000], ids=["tree", "both", "rings"])
@pytest.mark.parametrize("few", [0, 10_000], ids=["tree for few", "pairs for many"])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.8, 0.8, 3.0)], ids=str)
def test_rings_tree_and_pairs_give_the_same_distances(
    ring_voxels: int,
    few: int,
    spacing_mm: tuple[float, ...],
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
) -> None:
    monkeypatch.setattr(nearest, "_RING_VOXELS", ring_voxels)
    monkeypatch.setattr(nearest, "_FEW_POINTS", few)
    nearest._ball.cache_clear()
    pred, ref = (rng.random((14, 12, 10)) < share for share in (0.01, 0.05))
    pred[2:8, 3:9, 2:9] = ref[4:11, 3:9, 3:9] = True
    ours = surface_distances(pred, ref, spacing_mm)
    forth, back = distances_mm(pred, ref, spacing_mm)
    nearest._ball.cache_clear()
    np.testing.assert_allclose(ours.pred_to_ref_mm, forth, rtol=1e-12)
    np.testing.assert_allclose(ours.ref_to_pred_mm, back, rtol=1e-12)


def test_one_pass_over_all_labels_equals_one_pass_a_label(rng: np.random.Generator) -> None:
    spacing_mm = (2.0, 0.8, 0.8)
    ref = np.kron(rng.integers(0, 7, (3, 4, 3)), np.ones((4, 4, 4), int))
    pred = np.roll(ref, 1, axis=1)
    pred[pred == 5], ref[ref == 6] = 0, 0
    together = label_surface_distances(pred, ref, spacing_mm)
    assert list(together) == [1, 2, 3, 4, 5, 6]
    for label, distances in together.items():
        alone = surface_distances(pred == label, ref == label, spacing_mm)
        np.testing.assert_array_equal(distances.pred_to_ref_mm, alone.pred_to_ref_mm)
        np.testing.assert_array_equal(distances.ref_to_pred_mm, alone.ref_to_pred_mm)
    assert np.isinf(together[5].hausdorff_mm())
    assert np.isinf(together[6].hausdorff_mm())


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy")  # a deprecation inside MONAI
@settings(max_examples=20)
@given(volumes())
def test_it_equals_monai_where_both_masks_exist(drawn: tuple[list[Mask], tuple[float, ...]]) -> None:
    (pred, ref), spacing_mm = drawn
    pair = [torch.from_numpy(m[None, None]).float() for m in (pred, ref)]
    given_mm = {"spacing": list(spacing_mm), "include_background": True}
    d = surface_distances(pred, ref, spacing_mm)
    oracles = [
        compute_hausdorff_distance(*pair, **given_mm),
        compute_hausdorff_distance(*pair, percentile=95, **given_mm),
        compute_average_surface_distance(*pair, symmetric=True, **given_mm),
        compute_surface_dice(*pair, class_thresholds=[1.0], **given_mm),
    ]
    ours = [d.hausdorff_mm(), d.hausdorff_mm(95), d.assd_mm(), d.within(1.0)]
    np.testing.assert_allclose(ours, [o.item() for o in oracles], rtol=1e-5)


@settings(max_examples=25)
@given(volumes(masks=3))
def test_the_laws_of_a_distance_hold(drawn: tuple[list[Mask], tuple[float, ...]]) -> None:
    (a, b, c), spacing_mm = drawn
    hd, hd95, _, assd, masd, _ = figures(a, b, spacing_mm)
    diagonal = np.sqrt(sum(((n - 1) * s) ** 2 for n, s in zip(a.shape, spacing_mm, strict=True)))
    assert figures(a, a, spacing_mm) == [0, 0, 0, 0, 0, 1]
    np.testing.assert_allclose(figures(b, a, spacing_mm), figures(a, b, spacing_mm), rtol=1e-12)
    assert hd95 <= hd <= diagonal * (1 + 1e-12)
    assert max(assd, masd) <= hd
    assert hd <= (hausdorff_mm(a, c, spacing_mm) + hausdorff_mm(c, b, spacing_mm)) * (1 + 1e-12)
    distances = surface_distances(a, b, spacing_mm)
    ladder = [distances.hausdorff_mm(p) for p in (0, 10, 50, 90, 95, 100)]
    assert ladder == sorted(ladder)
    shares = [distances.within(t) for t in (0, 0.5, 1.0, 2.0, hd)]
    assert shares == sorted(shares)
    assert shares[-1] == 1


@settings(max_examples=25)
@given(volumes())
def test_neither_frame_nor_unit_matters(drawn: tuple[list[Mask], tuple[float, ...]]) -> None:
    (pred, ref), spacing_mm = drawn
    expected = figures(pred, ref, spacing_mm)
    padded = [np.pad(m, [(2, 1)] * m.ndim) for m in (pred, ref)]
    flipped = [np.flip(m, 0) for m in (pred, ref)]
    turned = [np.moveaxis(m, 0, -1) for m in (pred, ref)]
    np.testing.assert_allclose(figures(*padded, spacing_mm), expected, rtol=1e-12)
    np.testing.assert_allclose(figures(*flipped, spacing_mm), expected, rtol=1e-12)
    np.testing.assert_allclose(figures(*turned, (*spacing_mm[1:], spacing_mm[0])), expected, rtol=1e-12)
    tripled = figures(pred, ref, tuple(3 * s for s in spacing_mm))
    np.testing.assert_allclose(tripled[:5], [3 * e for e in expected[:5]], rtol=1e-12)


@pytest.mark.parametrize("shape", [(12, 12), (16, 16, 16)], ids=str)
def test_empty_sides_are_infinite_or_nan_and_never_zero(shape: tuple[int, ...]) -> None:
    nothing, something = np.zeros(shape, bool), np.zeros(shape, bool)
    something[3:6, 3:6] = True
    for pair in ((nothing, something), (something, nothing)):
        assert figures(*pair, 1) == [np.inf] * 5 + [0]
    assert np.isnan(figures(nothing, nothing, 1)).all()


@pytest.mark.parametrize(
    "spacing_mm",
    [
        np.array([1, 1, 2.5], np.float32),
        [1, 1, 2.5],
        (1, np.float64(1), 2.5),
        torch.tensor([1, 1, 2.5]),
    ],
    ids=["header zooms", "mixed list", "tuple", "tensor"],
)
def test_spacing_comes_in_any_numeric_form(spacing_mm: Any) -> None:
    pred, ref = np.zeros((9, 9, 9), np.uint8), np.zeros((9, 9, 9), np.uint8)
    pred[1, 1, 1], ref[1, 1, 5] = 1, 1
    assert hausdorff_mm(pred, ref, spacing_mm) == 10


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int16, np.uint16, np.int64])
def test_any_integer_type_gives_the_same_distances(dtype: Any, rng: np.random.Generator) -> None:
    pred, ref = (rng.random((2, 8, 8, 8)) < 0.2).astype(dtype)
    assert figures(pred, ref, 1) == figures(pred.astype(bool), ref.astype(bool), 1)
    assert torch.from_numpy(pred).dim() == 3
    assert figures(torch.from_numpy(pred), torch.from_numpy(ref), 1) == figures(pred, ref, 1)


@settings(max_examples=40)
@given(volumes())
def test_a_cut_by_the_image_is_no_surface_if_its_edge_is_ignored(
    drawn: tuple[list[Mask], tuple[float, ...]],
) -> None:
    (pred, ref), spacing_mm = drawn
    ours = surface_distances(pred, ref, spacing_mm, SurfaceConvention(edge="ignore"))
    if all(len(surface(m, beyond=1)) for m in (pred, ref)):
        forth, back = distances_mm(pred, ref, spacing_mm, beyond=1)
        np.testing.assert_allclose(ours.pred_to_ref_mm, forth, rtol=1e-12)
        np.testing.assert_allclose(ours.ref_to_pred_mm, back, rtol=1e-12)
    else:
        assert len(ours.pred_to_ref_mm) == len(surface(pred, beyond=1))
        assert len(ours.ref_to_pred_mm) == len(surface(ref, beyond=1))
        assert not np.isfinite(ours.hausdorff_mm())


def test_a_cut_plane_agrees_only_where_the_edge_counts() -> None:
    pred, ref = np.zeros((2, 12, 20, 20), bool)
    pred[:8, 4:16, 4:16], ref[:5, 6:14, 6:14] = True, True
    counted = surface_distances(pred, ref, 1)
    ignored = surface_distances(pred, ref, 1, SurfaceConvention(edge="ignore"))
    assert counted.within(1) > 0.2
    assert ignored.within(1) == 0
    assert ignored.assd_mm() > counted.assd_mm()


def test_an_unknown_convention_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected surface 'voxel' or 'surfel', got 'mesh'"):
        SurfaceConvention("mesh")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected edge 'count' or 'ignore', got 'nearest'"):
        SurfaceConvention(edge="nearest")  # type: ignore[arg-type]


def test_labels_may_be_any_whole_numbers(rng: np.random.Generator) -> None:
    maps = np.kron(rng.integers(0, 5, (2, 3, 4, 3)), np.ones((1, 3, 3, 3), int))
    names = np.array([0, -(2**40), 300, 70_000, 2**60])
    expected = label_surface_distances(*maps, 1)
    found = label_surface_distances(*names[maps], 1)
    assert sorted(found) == sorted(names[1:].tolist())
    for label, distances in expected.items():
        np.testing.assert_array_equal(found[int(names[label])].pred_to_ref_mm, distances.pred_to_ref_mm)
        np.testing.assert_array_equal(found[int(names[label])].ref_to_pred_mm, distances.ref_to_pred_mm)


def test_input_that_cannot_be_measured_is_refused() -> None:
    mask = np.ones((4, 4), bool)
    with pytest.raises(ShapeError, match=r"of one shape with 1 to 3 axes, got \(4, 4\) and \(3, 4\)"):
        surface_distances(mask, mask[:3], 1)
    with pytest.raises(ShapeError, match="got a prediction of float64; take the argmax or a threshold"):
        surface_distances(mask * 0.5, mask, 1)
    with pytest.raises(ShapeError, match="1 to 3 axes"):
        surface_distances(np.ones((1, 1, 2, 2), bool), np.ones((1, 1, 2, 2), bool), 1)
    for spacing_mm in ([1, 1, 1], [1, 0], [1, -1], [1, np.nan], [1, np.inf]):
        with pytest.raises(GeometryError, match="expected spacing_mm with 2 positive numbers"):
            surface_distances(mask, mask, spacing_mm)
    distances = SurfaceDistances(np.zeros(1), np.zeros(1))
    with pytest.raises(ConfigError, match="expected a percentile from 0 to 100, got 101"):
        distances.hausdorff_mm(101)
    with pytest.raises(ConfigError, match="expected a percentile from 0 to 100, got -5"):
        hausdorff_mm(mask, mask, 1, -5)
    with pytest.raises(ConfigError, match="expected directions 'directed_max' or 'pooled', got 'both'"):
        distances.hausdorff_mm(95, "both")  # type: ignore[arg-type]
