from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from medconv.blocks import Decoder, Encoder, PlainBlock, Stage
from medconv.ops import GradientWeightedConv, StandardConv

STAGE = Stage(4, (3, 3), (1, 1), (1.0, 1.0), PlainBlock, StandardConv)
STAGES = [
    STAGE,
    replace(STAGE, channels=6, stride=(2, 2), spacing_mm=(2.0, 2.0)),
    replace(STAGE, channels=10, stride=(1, 2), spacing_mm=(2.0, 4.0)),
]
NO_GUIDES = [None] * 3


@pytest.mark.parametrize("downsample", ["max", "average", "stride"])
def test_the_encoder_gives_one_map_a_stage(downsample: str) -> None:
    maps = Encoder(3, STAGES, downsample)(torch.zeros(1, 3, 8, 16), NO_GUIDES)
    assert [tuple(m.shape[1:]) for m in maps] == [(4, 8, 16), (6, 4, 8), (10, 4, 4)]


@pytest.mark.parametrize("upsample", ["linear", "nearest", "transpose"])
def test_the_decoder_returns_to_the_grid_of_every_skip(upsample: str) -> None:
    maps = [torch.zeros(1, 4, 8, 16), torch.zeros(1, 6, 4, 8), torch.zeros(1, 10, 4, 4)]
    decoded = Decoder(STAGES, upsample)(maps, NO_GUIDES)
    assert [tuple(m.shape[1:]) for m in decoded] == [(4, 8, 16), (6, 4, 8)]


def test_every_decoded_map_depends_on_its_skip_and_on_the_coarser_maps_only() -> None:
    torch.manual_seed(0)
    decoder = Decoder(STAGES)
    maps = [torch.randn(1, 4, 8, 16), torch.randn(1, 6, 4, 8), torch.randn(1, 10, 4, 4)]
    before = decoder(maps, NO_GUIDES)
    after = decoder([maps[0] + torch.randn_like(maps[0]), *maps[1:]], NO_GUIDES)
    assert torch.equal(before[1], after[1])
    assert not torch.allclose(before[0], after[0])
    deeper = decoder([*maps[:2], maps[2] + torch.randn_like(maps[2])], NO_GUIDES)
    assert not torch.allclose(before[0], deeper[0])


@pytest.mark.parametrize("downsample", ["max", "stride"])
def test_each_operator_gets_the_guide_and_the_spacing_of_its_own_input(downsample: str) -> None:
    encoder = Encoder(1, [replace(s, conv=GradientWeightedConv) for s in STAGES], downsample)
    seen: list[tuple[tuple[int, ...], tuple[int, ...], tuple[float, ...]]] = []

    def note(module: nn.Module, args: tuple[torch.Tensor, torch.Tensor], _: torch.Tensor) -> None:
        seen.append((tuple(args[0].shape[2:]), tuple(args[1].shape[2:]), module.spacing_mm))

    for module in encoder.modules():
        if isinstance(module, GradientWeightedConv):
            module.register_forward_hook(note)
    guides = [torch.rand(1, 1, *size) for size in ((8, 16), (4, 8), (4, 4))]
    encoder(torch.zeros(1, 1, 8, 16), guides)
    assert len(seen) == 6
    for x_size, guide_size, spacing in seen:
        assert x_size == guide_size
        assert spacing == (8 / x_size[0], 16 / x_size[1])


def test_a_stage_that_takes_the_step_starts_on_the_finer_grid() -> None:
    assert STAGES[2].finer_spacing_mm == (2.0, 2.0)
    conv = STAGES[2].build_block(6, takes_step=True).units[0].conv
    assert (conv.stride, conv.spacing_mm) == ((1, 2), (2.0, 2.0))
