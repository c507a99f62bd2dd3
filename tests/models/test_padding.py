from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from medconv.models.padding import PadToDivisor

SIZES = st.lists(st.integers(1, 40), min_size=3, max_size=3)
DIVISORS = st.lists(st.sampled_from([1, 2, 4, 8, 12]), min_size=3, max_size=3)


@given(SIZES, DIVISORS)
def test_padded_sizes_are_divisible_and_more_than_one_cell(size: list[int], divisor: list[int]) -> None:
    pad = PadToDivisor(divisor)
    padded = [n + before + behind for n, (before, behind) in zip(size, pad.margins(size), strict=True)]
    assert all(n % d == 0 for n, d in zip(padded, divisor, strict=True))
    assert prod(n // d for n, d in zip(padded, divisor, strict=True)) > 1
    assert all(0 <= behind - before <= 1 for before, behind in pad.margins(size))


@given(SIZES, DIVISORS)
def test_no_more_is_padded_than_needed(size: list[int], divisor: list[int]) -> None:
    if prod(-(-n // d) for n, d in zip(size, divisor, strict=True)) > 1:
        margins = PadToDivisor(divisor).margins(size)
        assert all(sum(margin) < d for margin, d in zip(margins, divisor, strict=True))


@given(SIZES, DIVISORS)
def test_cropping_undoes_padding(size: list[int], divisor: list[int]) -> None:
    pad, x = PadToDivisor(divisor), 1 + torch.rand(1, 1, *size)
    assert torch.equal(pad.crop(pad(x), size), x)
    assert pad(x).count_nonzero() == x.numel()


@given(st.integers(1, 20), st.sampled_from([2, 4, 8]))
def test_equal_axes_are_padded_equally(n: int, divisor: int) -> None:
    assert len(set(PadToDivisor((divisor,) * 3).margins((n, n, n)))) == 1


def test_a_single_voxel_at_the_bottleneck_becomes_two_without_breaking_reflections() -> None:
    pad = PadToDivisor((2, 8, 8))
    assert pad.margins((2, 8, 8)) == [(0, 0), (4, 4), (4, 4)]
    assert PadToDivisor((1, 1)).margins((1, 1)) == [(0, 1), (0, 1)]


def test_an_image_that_fits_is_returned_itself() -> None:
    x = torch.rand(1, 1, 8, 12)
    pad = PadToDivisor((4, 4))
    assert pad(x) is x
    assert pad.crop(x, (8, 12)) is x


def test_a_coarser_map_is_cropped_where_the_image_lay() -> None:
    # a ramp sampled on the coarse grid of the padded image comes back as the ramp on the image
    pad, size = PadToDivisor((4, 4)), (9, 8)
    fine = torch.arange(12.0).view(1, 1, 12, 1).expand(1, 1, 12, 8)
    coarse = F.avg_pool2d(fine, 2)
    cropped = pad.crop(coarse, size)
    assert cropped.shape == (1, 1, 9, 8)
    torch.testing.assert_close(cropped, fine[:, :, 1:10])
