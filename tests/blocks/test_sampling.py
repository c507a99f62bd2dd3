from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medconv.blocks import Downsample, Upsample, coarser_guide, coarser_spacing, guide_pyramid
from medconv.errors import ShapeError, UnknownNameError
from medconv.ops import act, full_group


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["max", "average"])
def test_downsample_is_the_largest_or_mean_of_each_cell(dims: int, kind: str) -> None:
    x = torch.randn(2, 3, *(8, 6, 4)[:dims])
    cells = x
    for axis in range(dims):
        cells = cells.unfold(2 + axis, 2, 2)
    cells = cells.flatten(2 + dims)
    expected = cells.amax(-1) if kind == "max" else cells.mean(-1)
    torch.testing.assert_close(Downsample(dims, 2, kind)(x), expected)


def test_downsample_leaves_axes_with_stride_one_alone() -> None:
    x = torch.randn(1, 2, 5, 8, 8)
    y = Downsample(3, (1, 2, 2))(x)
    torch.testing.assert_close(y[:, :, 3], F.max_pool2d(x[:, :, 3], 2))


@pytest.mark.parametrize("kind", ["linear", "nearest"])
def test_mixing_channels_before_interpolating_equals_mixing_after(kind: str) -> None:
    up = Upsample(3, 4, 2, (1, 2, 2), kind)
    x, size = torch.randn(1, 4, 3, 4, 5), (3, 8, 10)
    after = up.conv(F.interpolate(x, size=size, mode="trilinear" if kind == "linear" else "nearest"))
    torch.testing.assert_close(up(x, size), after, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["linear", "nearest"])
def test_interpolation_commutes_with_every_element(kind: str) -> None:
    up = Upsample(3, 2, 2, 2, kind).double()
    x = torch.randn(1, 2, 3, 3, 3, dtype=torch.double)
    for g in full_group(3):
        torch.testing.assert_close(up(act(x, g), (6, 6, 6)), act(up(x, (6, 6, 6)), g), atol=1e-12, rtol=0)


def test_linear_interpolation_reaches_sizes_that_are_no_multiple() -> None:
    up = Upsample(2, 3, 3, 2)
    assert up(torch.zeros(1, 3, 4, 5), (7, 9)).shape == (1, 3, 7, 9)


def test_transpose_writes_each_voxel_into_its_own_cell() -> None:
    up = Upsample(2, 2, 1, 2, "transpose")
    x = torch.zeros(1, 2, 3, 3)
    x[0, 1, 2, 0] = 1.0
    y = up(x, (6, 6)) - up.conv.bias
    expected = torch.zeros(1, 1, 6, 6)
    expected[0, 0, 4:6, 0:2] = up.conv.weight[1, 0]
    torch.testing.assert_close(y, expected)


def test_transpose_refuses_a_size_that_it_cannot_reach() -> None:
    with pytest.raises(ShapeError, match=r"expected a grid \(2, 2\) times the coarse one"):
        Upsample(2, 2, 1, 2, "transpose")(torch.zeros(1, 2, 3, 3), (7, 7))


@pytest.mark.parametrize("kind", ["nearest", "transpose"])
def test_upsampling_doubles_the_mean_square_at_initialisation(kind: str) -> None:
    # He's rule: the nonlinearity before it has halved it
    torch.manual_seed(0)
    x = F.leaky_relu(torch.randn(2, 64, 8, 8))
    y = Upsample(2, 64, 32, 2, kind)(x, (16, 16)).detach()
    assert 1.5 < float(y.square().mean() / x.square().mean()) < 2.5


def test_unknown_kinds_are_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="no pooling 'avarage'; did you mean 'average'"):
        Downsample(2, 2, "avarage")
    with pytest.raises(UnknownNameError, match="no upsampling 'transposed'; did you mean 'transpose'"):
        Upsample(2, 1, 1, 2, "transposed")


def test_the_guide_pyramid_averages_step_by_step() -> None:
    guide = torch.rand(2, 1, 4, 8, 8)
    pyramid = guide_pyramid(guide, [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
    assert pyramid[0] is guide
    torch.testing.assert_close(pyramid[2], F.avg_pool3d(guide, (2, 4, 4)))
    assert guide_pyramid(None, [(1, 1), (2, 2)]) == [None, None]


def test_at_an_odd_border_the_guide_averages_what_is_there() -> None:
    guide = torch.tensor([[[[1.0, 3.0, 10.0]]]])
    coarse = coarser_guide(guide, (1, 2))
    assert coarse is not None
    assert coarse.flatten().tolist() == [2.0, 10.0]


def test_spacing_grows_with_the_stride() -> None:
    assert coarser_spacing(None, (1, 2, 2)) == (1.0, 2.0, 2.0)
    assert coarser_spacing((2.0, 0.5), (2, 4)) == (4.0, 2.0)
