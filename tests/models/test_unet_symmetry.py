"""The promise of symmetric networks: turn the image, and the result turns with it."""

from __future__ import annotations

from functools import partial
from math import inf

import pytest
import torch
from torch import Tensor

from medconv.attention import ChannelAttention
from medconv.blocks import PlainBlock, ResidualBlock
from medconv.models import UNet, fold
from medconv.ops import Element, StandardConv, SymmetricConv, act, full_group, named_group


def outputs(net: UNet, x: Tensor) -> list[Tensor]:
    with torch.no_grad():
        y = net(x)
    return y if isinstance(y, list) else [y]


def error(net: UNet, x: Tensor, g: Element, plain: list[Tensor] | None = None) -> float:
    """Largest difference between 'turn, then segment' and 'segment, then turn' (``plain``), over all outputs."""
    after, before = outputs(net, act(x, g)), [act(y, g) for y in plain or outputs(net, x)]
    if [y.shape for y in after] != [y.shape for y in before]:
        return inf
    return max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("upsample", ["linear", "nearest"])
@pytest.mark.parametrize("downsample", ["max", "average"])
@pytest.mark.parametrize("block", [PlainBlock, ResidualBlock])
def test_all_8_elements_of_the_square(upsample: str, downsample: str, block: type) -> None:
    torch.manual_seed(0)
    net = UNet(
        2, 2, 3, channels=(4, 8, 8, 16), conv=SymmetricConv, block=block, attention=ChannelAttention,
        upsample=upsample, downsample=downsample, deep_supervision=True,
    )  # fmt: skip
    x = torch.randn(1, 2, 32, 32)
    plain = outputs(net, x)
    assert len(plain) == 2
    assert all(error(net, x, g, plain) < 1e-5 for g in full_group(2))


def test_all_48_elements_of_the_cube_with_auxiliary_outputs() -> None:
    torch.manual_seed(0)
    net = UNet(3, 1, 2, channels=(2, 4, 4, 4), conv=SymmetricConv, deep_supervision=True)
    x = torch.randn(1, 1, 16, 16, 16)
    plain = outputs(net, x)
    assert len(plain) == 2
    assert all(error(net, x, g, plain) < 1e-5 for g in full_group(3))


def test_thick_slices_keep_the_elements_that_respect_them_and_no_others() -> None:
    torch.manual_seed(0)
    options = {"spacing_mm": (3.0, 1.0, 1.0), "deep_supervision": True}
    net = UNet(3, 1, 2, channels=(2, 4, 4), conv=SymmetricConv, **options)  # type: ignore[arg-type]
    x = torch.randn(1, 1, 8, 8, 8)
    plain = outputs(net, x)
    assert len(plain) == 2
    kept = named_group("D4h", 3, axis=0)
    assert all(error(net, x, g, plain) < 1e-5 for g in kept)
    others = [g for g in full_group(3) if g not in kept.elements]
    assert len(others) == 32
    assert all(error(net, x, g, plain) > 1e-2 for g in others)


@pytest.mark.parametrize("size", [(30, 30), (8, 8), (3, 3), (10, 30), (1, 1), (2, 2)])
def test_padding_keeps_the_symmetry_where_it_is_even(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8, 8, 8), conv=SymmetricConv)
    x = torch.randn(1, 1, *size)
    even = [g for g in full_group(2) if all(n % 2 == 0 for n in size)]
    assert all(error(net, x, g) < 1e-5 for g in even)


def test_an_uneven_margin_breaks_it() -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8), conv=SymmetricConv)
    assert error(net, torch.randn(1, 1, 15, 15), ((0, -1), (1, 0))) > 1e-3


BREAKERS: list[dict[str, object]] = [
    {"downsample": "stride"},
    {"upsample": "transpose"},
    {"decoder_conv": "standard"},
    {"conv": [StandardConv, SymmetricConv]},
]


@pytest.mark.parametrize("options", BREAKERS)
def test_one_part_that_breaks_a_quarter_turn_breaks_the_network(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8), **({"conv": SymmetricConv} | options))  # type: ignore[arg-type]
    assert error(net, torch.randn(1, 1, 16, 16), ((0, -1), (1, 0))) > 1e-3


def test_the_folded_network_has_the_same_symmetry() -> None:
    torch.manual_seed(0)
    rings = partial(SymmetricConv, basis="ring")
    net = fold(UNet(2, 1, 2, channels=(4, 8), conv=rings, kernel_sizes=[5, 3]))
    x = torch.randn(1, 1, 16, 16)
    assert all(error(net, x, g) < 1e-5 for g in full_group(2))
