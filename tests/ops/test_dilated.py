from __future__ import annotations

import warnings
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from medconv.errors import ConfigError
from medconv.models import UNet, fold
from medconv.ops import DilatedConv, GriddingWarning, StandardConv, check_conv, dilation_coverage

CONV = {2: F.conv2d, 3: F.conv3d}


def gridded(*args: object, **kwargs: object) -> DilatedConv:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GriddingWarning)
        return DilatedConv(*args, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("dims", [2, 3])
def test_one_rate_is_the_dilated_convolution_of_torch(dims: int) -> None:
    conv = gridded(dims, 2, 4, rates=[3], stride=2)
    x = torch.randn(1, 2, *(9, 8, 7)[:dims])
    expected = CONV[dims](x, conv.weight, conv.bias, stride=2, padding=3, dilation=3)
    assert torch.equal(conv(x), expected)
    assert torch.equal(conv.fold()(x), expected)


def test_rate_one_is_bitwise_plain() -> None:
    torch.manual_seed(0)
    plain = StandardConv(2, 3, 4)
    torch.manual_seed(0)
    conv = DilatedConv(2, 3, 4, rates=[1])
    x = torch.randn(2, 3, 7, 6)
    assert torch.equal(conv(x), plain(x))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_every_share_of_the_outputs_takes_its_rate(dims: int, groups: int) -> None:
    torch.manual_seed(0)
    conv = gridded(dims, 4, 10, rates=[1, 2, 4], groups=groups).double()
    x = torch.randn(2, 4, *(9, 8, 7)[:dims], dtype=torch.float64)
    y = conv(x)
    size = 10 // groups
    for o in range(10):
        place, group = o % size, o // size
        rate = (1, 2, 4)[[place < size * (n + 1) // 3 for n in range(3)].index(True)]
        inputs = x[:, group * 4 // groups : (group + 1) * 4 // groups]
        expected = CONV[dims](
            inputs, conv.weight[o : o + 1], conv.bias[o : o + 1], padding=rate, dilation=rate
        )
        torch.testing.assert_close(y[:, o : o + 1], expected, atol=1e-13, rtol=0)


def test_other_rates_pass_the_examination() -> None:
    check_conv(partial(DilatedConv, rates=[1]), backend=None)


def test_rates_are_shorter_across_thick_slices() -> None:
    conv = DilatedConv(3, 1, 4, rates=[1, 2], spacing_mm=(3.0, 1.0, 1.0))
    assert conv.rates == [(1, 1, 1), (1, 2, 2)]
    assert conv.kernel_size == (3, 5, 5)
    assert gridded(3, 1, 4, rates=[4], spacing_mm=(2.0, 1.0, 1.0)).dilation == (2, 4, 4)


@pytest.mark.parametrize(
    ("layers", "covered"),
    [((2, 2, 2), 7 / 13), ((2, 4, 8), 15 / 29), ((1, 2, 3), 1), ((1, 2, 4), 1), ((1, 3, 9), 1)],
)
def test_coverage_is_what_an_impulse_shows(layers: tuple[int, ...], covered: float) -> None:
    x = torch.zeros(1, 1, 41)
    x[..., 20] = 1
    for rate in layers:
        x = F.conv1d(x, torch.ones(1, 1, 3), padding=rate, dilation=rate)
    seen = torch.nonzero(x.flatten()).flatten()
    assert dilation_coverage(layers) == pytest.approx(len(seen) / int(seen.max() - seen.min() + 1))
    assert dilation_coverage(layers) == pytest.approx(covered)


def test_gridding_warns_and_says_what_to_do() -> None:
    with pytest.warns(
        GriddingWarning, match=r"rates \[2\] see no voxel at distance 1 and miss 1 of the nearest 3"
    ):
        DilatedConv(2, 1, 2, rates=[2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DilatedConv(2, 1, 3, rates=[1, 2, 3])
        DilatedConv(2, 1, 3, 5, rates=[1, 2])
    with pytest.warns(GriddingWarning, match=r"distance 3 and miss 5 of the nearest 10.*add the rates"):
        DilatedConv(2, 1, 2, rates=[1, 9])


def test_several_rates_are_not_folded_into_zeros() -> None:
    net = UNet(2, 1, 2, channels=(4, 4), conv=DilatedConv)
    assert any(isinstance(m, DilatedConv) for m in fold(net).modules())
    assert DilatedConv(2, 4, 4).macs((8, 8)) == StandardConv(2, 4, 4).macs((8, 8))


def test_bad_rates_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"one or more rates of at least 1, got \[0, 1\]"):
        DilatedConv(2, 1, 4, rates=[0, 1])
    with pytest.raises(ConfigError, match=r"one or more rates of at least 1, got \[\]"):
        DilatedConv(2, 1, 4, rates=[])
    with pytest.raises(ConfigError, match=r"at most 1 rates, one an output channel of a group, got \[1, 2\]"):
        DilatedConv(2, 4, 4, groups=4)
    with pytest.raises(ConfigError, match="expected odd kernel sizes"):
        DilatedConv(2, 1, 4, 2, stride=2)
    with pytest.raises(ConfigError, match="in_channels 3, out_channels 4, groups 2"):
        DilatedConv(2, 3, 4, groups=2)
