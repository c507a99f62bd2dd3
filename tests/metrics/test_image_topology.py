"""Betti numbers held against the ranks of boundary matrices, skeletons against what thinning must keep."""

from __future__ import annotations

from itertools import product
from math import isnan

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medconv.errors import ConfigError, ShapeError
from medconv.metrics import BettiNumbers, betti_error, betti_numbers, cl_dice, skeletonise
from medconv.metrics.skeleton import is_simple

Mask = npt.NDArray[np.bool_]
Cell = tuple[int, ...]


@st.composite
def masks(draw: st.DrawFn, largest: int = 4) -> Mask:
    shape = tuple(draw(st.lists(st.integers(1, largest), min_size=2, max_size=3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return rng.random(shape) < draw(st.sampled_from([0.2, 0.5, 0.7, 0.9]))


def closed_cells(mask: Mask) -> set[Cell]:
    """Every corner, edge, face and cube of the voxels, in half voxels: odd where it has an extent."""
    around = list(product((-1, 0, 1), repeat=mask.ndim))
    return {tuple(2 * v + 1 + o) for v in np.argwhere(mask) for o in np.array(around)}


def dual_cells(mask: Mask) -> set[Cell]:
    """Voxels as points, and whatever edge, square or cube has all its corners among them."""
    points = {tuple(2 * v) for v in np.argwhere(mask)}
    cells = set()
    for point, extent in product(points, product((0, 1), repeat=mask.ndim)):
        corners = product(*[(p, p + 2) if e else (p,) for p, e in zip(point, extent, strict=True)])
        if all(c in points for c in corners):
            cells.add(tuple(np.add(point, extent)))
    return cells


def homology(cells: set[Cell], ndim: int) -> BettiNumbers:
    by_size = [sorted(c for c in cells if sum(x % 2 for x in c) == k) for k in range(ndim + 2)]
    ranks = [0]
    for k in range(1, ndim + 2):
        place = {cell: i for i, cell in enumerate(by_size[k - 1])}
        matrix = np.zeros((len(by_size[k - 1]), len(by_size[k])))
        for column, cell in enumerate(by_size[k]):
            sign = 1
            for axis in (a for a in range(ndim) if cell[a] % 2):
                for side in (-1, 1):
                    matrix[place[(*cell[:axis], cell[axis] + side, *cell[axis + 1 :])], column] = side * sign
                sign = -sign
        ranks.append(int(np.linalg.matrix_rank(matrix)) if matrix.size else 0)
    numbers = [len(by_size[k]) - ranks[k] - ranks[k + 1] for k in range(ndim + 1)]
    return BettiNumbers(*[*numbers, 0, 0][:3])


@settings(max_examples=40)
@given(masks())
def test_betti_numbers_equal_the_ranks_of_boundary_matrices(mask: Mask) -> None:
    assert betti_numbers(mask, "corner") == homology(closed_cells(mask), mask.ndim)
    assert betti_numbers(mask, "face") == homology(dual_cells(mask), mask.ndim)


def torus() -> Mask:
    z, y, x = np.indices((13, 25, 25)) - np.array([6, 12, 12]).reshape(3, 1, 1, 1)
    return (np.sqrt(y**2 + x**2) - 8) ** 2 + z**2 < 10


def shell() -> Mask:
    away = ((np.indices((15,) * 3) - 7) ** 2).sum(0)
    return (away < 40) & (away > 10)


@pytest.mark.parametrize("neighbours", ["corner", "face"])
def test_known_shapes(neighbours: str) -> None:
    assert betti_numbers(torus(), neighbours) == BettiNumbers(1, 1, 0)
    assert betti_numbers(shell(), neighbours) == BettiNumbers(1, 0, 1)
    assert betti_numbers(np.ones((3, 4, 5), int), neighbours) == BettiNumbers(1, 0, 0)
    assert betti_numbers(np.zeros((3, 4), int), neighbours) == BettiNumbers(0, 0, 0)
    assert betti_numbers(torus()[6], neighbours) == BettiNumbers(1, 1, 0)


def test_the_pair_of_neighbourhoods_is_unlike() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]])
    assert betti_numbers(diamond, "corner") == BettiNumbers(1, 1, 0)
    assert betti_numbers(diamond, "face") == BettiNumbers(4, 0, 0)


def test_the_error_counts_every_difference() -> None:
    ref = torus()
    cut = ref.copy()
    cut[:, 12, :12] = False
    assert betti_error(cut, ref) == 1
    assert betti_error(np.zeros_like(ref), ref) == 2
    assert betti_error(ref, ref) == 0


@pytest.mark.parametrize("ndim", [2, 3])
def test_simple_points_are_those_whose_neighbours_are_one_piece_without_loop_or_cavity(
    ndim: int, rng: np.random.Generator
) -> None:
    n = 3**ndim
    around = rng.random((400, n - 1)) < rng.uniform(0.05, 0.95, (400, 1))
    cubes = np.insert(around, n // 2, False, axis=1).reshape(-1, *(3,) * ndim)
    expected = [betti_numbers(cube) == BettiNumbers(1, 0, 0) for cube in cubes]
    assert 20 < sum(expected) < 380
    assert is_simple(around).tolist() == expected


@settings(max_examples=40)
@given(masks(largest=12))
def test_a_skeleton_keeps_the_topology_and_cannot_be_thinned(mask: Mask) -> None:
    thin = skeletonise(mask)
    assert not (thin & ~mask).any()
    assert betti_numbers(thin) == betti_numbers(mask)
    np.testing.assert_array_equal(skeletonise(thin), thin)
    for place in np.argwhere(thin):
        around = np.pad(thin, 1)[tuple(slice(p, p + 3) for p in place)].ravel()
        beside = np.delete(around, len(around) // 2)[None]
        assert beside.sum() <= 1 or not is_simple(beside)[0]


def test_skeletons_of_known_shapes() -> None:
    tube = np.zeros((9, 9, 40), bool)
    tube[2:7, 2:7, 2:38] = True
    line = skeletonise(tube)
    assert line.sum(axis=(0, 1))[6:34].tolist() == [1] * 28
    across = np.argwhere(line[:, :, 6:34])[:, :2]
    assert np.abs(across - 4).max() <= 1
    ring = skeletonise(torus())
    neighbours = [np.pad(ring, 1)[tuple(slice(p, p + 3) for p in v)].sum() - 1 for v in np.argwhere(ring)]
    assert min(neighbours) >= 2
    assert ring.sum() < 70
    assert betti_numbers(skeletonise(shell())) == BettiNumbers(1, 0, 1)


def test_the_centre_line_dice_forgives_thickness_and_not_gaps() -> None:
    ref, thin, gap = np.zeros((3, 9, 40), int)
    ref[2:7, 2:38] = thin[3:6, 2:38] = gap[2:7, 2:38] = 1
    gap[:, 15:25] = 0
    assert cl_dice(ref, ref) == 1
    assert cl_dice(thin, ref) > 0.95
    lines = [skeletonise(m) for m in (gap, ref)]
    sensitivity = (lines[1] & (gap > 0)).sum() / lines[1].sum()
    assert cl_dice(gap, ref) == pytest.approx(2 * sensitivity / (1 + sensitivity))
    assert sensitivity == pytest.approx(26 / 36, abs=0.05)
    assert cl_dice(ref, thin) == cl_dice(thin, ref)


def test_empty_masks() -> None:
    nothing, something = np.zeros((5, 5, 5), int), np.ones((5, 5, 5), int)
    assert isnan(cl_dice(nothing, nothing))
    assert cl_dice(nothing, something) == cl_dice(something, nothing) == 0
    assert not skeletonise(nothing).any()


def test_misuse_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected neighbours 'corner' or 'face', got 'edge'"):
        betti_numbers(np.ones((2, 2), int), "edge")  # type: ignore[arg-type]
    for measure in (betti_numbers, skeletonise):
        with pytest.raises(ShapeError, match=r"mask with 2 or 3 axes, got \(4,\) of int64"):
            measure(np.ones(4, int))
        with pytest.raises(ShapeError, match=r"got \(2, 2\) of float64"):
            measure(np.ones((2, 2)))
    with pytest.raises(ShapeError, match="of one shape"):
        cl_dice(np.ones((2, 2), int), np.ones((2, 3), int))
