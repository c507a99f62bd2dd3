from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medconv.errors import ConfigError
from medconv.inference.tiles import axis_trust, tile_parts, tile_starts, tile_trust, total_trust


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.0, 0.25, 0.5, 0.75, 0.9]))
def test_tiles_cover_the_axis_and_overlap_enough(size: int, patch: int, overlap: float) -> None:
    size = max(size, patch)
    starts = tile_starts(size, patch, overlap)
    assert (starts[0], starts[-1]) == (0, size - patch)
    steps = [after - before for before, after in pairwise(starts)]
    assert all(1 <= step <= max(1, patch * (1 - overlap)) + 1 for step in steps)
    assert max(steps, default=1) - min(steps, default=1) <= 1


def test_the_benchmark_has_as_many_tiles_as_nnunet() -> None:
    number = [len(tile_starts(size, 128, 0.5)) for size in (410, 410, 384)]
    assert number == [6, 6, 5]  # 180, as its progress bar says


@pytest.mark.parametrize(
    ("patch", "overlap", "step"), [(10, 0.8, 2), (10, 0.9, 1), (80, 0.9, 8), (160, 0.95, 8)]
)
def test_a_step_of_whole_voxels_is_not_lost_to_rounding(patch: int, overlap: float, step: int) -> None:
    assert tile_starts(patch + 12 * step, patch, overlap) == [n * step for n in range(13)]


def test_trust_of_a_tile_is_the_product_of_its_axes() -> None:
    trust = tile_trust((4, 5, 6), "gaussian")
    expected = torch.einsum("i,j,k->ijk", *(axis_trust(n, "gaussian") for n in (4, 5, 6)))
    torch.testing.assert_close(trust, expected)
    assert trust.min() > 0
    assert torch.equal(trust, trust.flip(0, 1, 2))


def test_total_trust_equals_a_naive_sum() -> None:
    starts = tile_starts(23, 8, 0.5)
    naive = torch.zeros(23)
    for start in starts:
        for n in range(8):
            naive[start + n] += axis_trust(8, "gaussian")[n]
    torch.testing.assert_close(total_trust(23, 8, starts, "gaussian"), naive)


def test_another_blend_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a blend of gaussian or crop, got 'cosine'"):
        axis_trust(4, "cosine")  # type: ignore[arg-type]


@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from([0.0, 0.5, 0.9]))
def test_cropped_tiles_share_the_axis_out(size: int, patch: int, overlap: float) -> None:
    size = max(size, patch)
    starts = tile_starts(size, patch, overlap)
    parts = tile_parts(size, patch, starts, "crop")
    assert torch.equal(total_trust(size, patch, starts, "crop"), torch.ones(size))
    for start, part in parts.items():
        assert 0 <= part.start < part.stop <= patch
        for voxel in range(start + part.start, start + part.stop):
            centre = patch / 2 - 0.5
            nearest = min(abs(voxel - other - centre) for other in starts)
            assert abs(voxel - start - centre) <= nearest + 1
