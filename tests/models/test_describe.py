from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medconv.attention import SCSE, AttentionGate, ChannelAttention, SpatialAttention
from medconv.blocks import ResidualBlock
from medconv.errors import ShapeError
from medconv.models import MonaiDynUNet, MonaiSegResNet, SegmentationModel, UNet, describe, fold
from medconv.ops import (
    Element,
    GradientWeightedConv,
    StandardConv,
    SymmetricConv,
    SymmetryGroup,
    act,
    full_group,
    named_group,
)

SYM = SymmetricConv


class _GuidedSymmetric(SymmetricConv):
    """A symmetric operator that depends on the guide: what breaks then is the guide."""

    needs_guide = True

    def forward(self, x: Tensor, guide: Tensor | None = None) -> Tensor:
        assert guide is not None
        return self.convolve(x / (1 + guide.to(x)), super().dense_weight())

    def dense_weight(self) -> None:  # type: ignore[override]
        return None

    def symmetry(self, spacing_mm: Any = None) -> SymmetryGroup | None:
        del spacing_mm
        return self.group


def keeps_shape(g: Element, size: tuple[int, ...]) -> bool:
    return torch.empty(1, 1, *size).shape == act(torch.empty(1, 1, *size), g).shape


def measured(net: nn.Module, x: Tensor, elements: Iterable[Element]) -> dict[Element, bool]:
    """For each element, whether 'turn, then segment' equals 'segment, then turn' in all outputs."""
    found, plain = {}, as_list(net(x))
    for g in elements:
        pairs = zip(as_list(net(act(x, g))), [act(y, g) for y in plain], strict=True)
        errors = [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]
        assert not any(1e-9 < e < 1e-4 for e in errors), f"neither equal nor different: {errors}"
        found[g] = max(errors) < 1e-9
    return found


def as_list(y: Tensor | list[Tensor]) -> list[Tensor]:
    return y if isinstance(y, list) else [y]


NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, ...], str]] = {
    "symmetric": ({"conv": SYM}, (16, 16), "D4"),
    "one odd size": ({"conv": SYM}, (15, 16), "D1"),
    "even, padded": ({"conv": SYM}, (14, 10), "D4"),
    "odd sizes": ({"conv": SYM}, (13, 13), "D1"),
    "one cell": ({"conv": SYM}, (4, 4), "D4"),
    "strided": ({"conv": SYM, "downsample": "stride"}, (16, 16), "D1"),
    "residual without a change of channels": (
        {"conv": SYM, "block": ResidualBlock, "stem": SYM},
        (16, 16),
        "D4",
    ),
    "strided residual": ({"conv": SYM, "downsample": "stride", "block": ResidualBlock}, (16, 16), "D1"),
    "transposed": ({"conv": SYM, "upsample": "transpose"}, (16, 16), "C1"),
    "nearest and average": ({"conv": SYM, "upsample": "nearest", "downsample": "average"}, (16, 16), "D4"),
    "half-turns": ({"conv": partial(SYM, group="C2")}, (16, 16), "C2"),
    "quarter-turns with 3 taps are the square": ({"conv": partial(SYM, group="C4")}, (16, 16), "D4"),
    "quarter-turns with 5 taps are not": (
        {"conv": partial(SYM, group="C4", basis="orbit"), "kernel_sizes": [5, 5, 5]},
        (16, 16),
        "C4",
    ),
    "dense": ({"conv": StandardConv}, (16, 16), "C1"),
    "dense along one axis": ({"conv": StandardConv, "kernel_sizes": [(1, 3)] * 3}, (16, 16), "D1"),
    "dense decoder": ({"conv": SYM, "decoder_conv": "standard"}, (16, 16), "C1"),
    "attention": ({"conv": SYM, "attention": ChannelAttention, "norm": "group"}, (16, 16), "D4"),
    "gated skips": ({"conv": SYM, "skip_attention": AttentionGate, "attention": SCSE}, (16, 16), "D4"),
    "free spatial attention": ({"conv": SYM, "attention": SpatialAttention}, (16, 16), "C1"),
    "supervised": ({"conv": SYM, "deep_supervision": True}, (16, 16), "D4"),
    "supervised, padded": ({"conv": SYM, "deep_supervision": True}, (14, 14), "D4"),
    "anisotropic": ({"conv": SYM, "spacing_mm": (3.0, 1.0)}, (8, 8), "D2"),
    "anisotropic strides only": ({"conv": SYM, "strides": [1, (1, 2), 2]}, (8, 8), "D2"),
    "gradient": ({"conv": GradientWeightedConv}, (16, 16), "C1"),
    "guided": ({"conv": _GuidedSymmetric}, (16, 16), "D4"),
    "guide on thick slices": (
        {"conv": [StandardConv, SYM, _GuidedSymmetric], "spacing_mm": (1.5, 1.0), "kernel_sizes": [1, 1, 1]},
        (16, 16),
        "D2",
    ),
}


FOLDED = ["symmetric", "strided", "half-turns", "quarter-turns with 5 taps are not", "dense", "guided"]
QUICK = [
    ("symmetric", False),
    ("one odd size", False),
    ("even, padded", False),
    ("strided", False),
    ("transposed", False),
    ("half-turns", False),
    ("quarter-turns with 5 taps are not", False),
    ("dense along one axis", False),
    ("dense decoder", False),
    ("attention", False),
    ("gated skips", False),
    ("anisotropic", False),
    ("gradient", False),
    ("guide on thick slices", False),
    ("symmetric", True),
    ("guided", True),
]
"""One of each answer and each kind of layer; the slow tests have the rest."""
CASES = [
    case if case in QUICK else pytest.param(*case, marks=pytest.mark.slow)
    for case in [(name, False) for name in NETWORKS] + [(name, True) for name in FOLDED]
]


@torch.no_grad()
@pytest.mark.parametrize(("name", "folded"), CASES)
def test_the_declared_symmetry_is_the_measured_one(name: str, folded: bool) -> None:
    torch.manual_seed(0)
    options, size, expected = NETWORKS[name]
    net = UNet(2, 1, 2, channels=(2, 4, 4), **options).double()
    net = fold(net) if folded else net
    for module in net.modules():
        if isinstance(module, GradientWeightedConv):
            module.rho_alpha.fill_(0.5)
        if isinstance(module, SpatialAttention):
            nn.init.normal_(module.conv.weight)
    declared = describe(net, size).symmetry
    assert declared.name == expected
    x = torch.randn(1, 1, *size, dtype=torch.double)
    comparable = [g for g in full_group(2) if g in declared.elements or keeps_shape(g, size)]
    assert measured(net, x, comparable) == {g: g in declared.elements for g in comparable}


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "size", "expected"),
    [
        ({"conv": SYM}, (8, 8, 8), "Oh"),
        pytest.param({"conv": SYM, "spacing_mm": (3.0, 1.0, 1.0)}, (8, 8, 8), "D4h", marks=pytest.mark.slow),
        ({"conv": SYM, "spacing_mm": (1.0, 2.0, 4.0)}, (8, 8, 8), "D2h"),
        ({"conv": partial(SYM, group="C4v"), "spacing_mm": (3.0, 1.0, 1.0)}, (8, 8, 8), "C4v"),
        ({"conv": SYM}, (8, 8, 7), "C4v"),
        ({"conv": SYM, "downsample": "stride"}, (8, 8, 8), "C3v"),
        ({"conv": StandardConv, "kernel_sizes": [(1, 3, 3)] * 2}, (8, 8, 8), "Cs"),
    ],
)
def test_also_in_space(options: dict[str, Any], size: tuple[int, ...], expected: str) -> None:
    torch.manual_seed(0)
    net = UNet(3, 1, 2, channels=(2, 3), **options).double()
    declared = describe(net, size).symmetry
    assert declared.name == expected
    x = torch.randn(1, 1, *size, dtype=torch.double)
    comparable = [g for g in full_group(3) if g in declared.elements or keeps_shape(g, size)]
    assert measured(net, x, comparable) == {g: g in declared.elements for g in comparable}


def test_the_first_layer_that_breaks_the_symmetry_is_named_with_the_reason() -> None:
    def breaker(size: tuple[int, ...] = (16, 16), **options: Any) -> tuple[str, str]:
        row = describe(UNet(2, 1, 2, channels=(2, 4, 4), **({"conv": SYM} | options)), size).breaker
        assert row is not None
        return row.name, row.reason

    assert breaker((16, 15)) == ("pad", "size 15 of axis 1 is padded by 0 before and 1 behind")
    assert breaker(downsample="stride") == (
        "encoder.blocks.1.units.0.conv",
        "stride 2 leaves 1 voxel over at size 16 of axis 0",
    )
    assert breaker(upsample="transpose") == ("decoder.upsamples.1", "its kernel (2, 2) has free weights")
    assert breaker(conv=[SYM, SYM, StandardConv]) == (
        "encoder.blocks.2.units.0.conv",
        "StandardConv has free weights",
    )
    assert breaker(conv=partial(SYM, group="C2")) == (
        "encoder.blocks.0.units.0.conv",
        "SymmetricConv is built for C2",
    )
    assert breaker(spacing_mm=(3.0, 1.0)) == ("pad", "axes are padded to multiples of (2, 4)")
    assert breaker(spacing_mm=(1.5, 1.0))[1] == "SymmetricConv is built for D2"


def test_a_network_that_breaks_nothing_has_no_breaker() -> None:
    description = describe(UNet(2, 1, 2, channels=(2, 4), conv=SYM), (16, 16))
    assert description.breaker is None
    assert "first broken" not in str(description)


def test_a_given_spacing_limits_the_symmetry_to_rotations_of_the_patient() -> None:
    net = UNet(3, 1, 2, channels=(2, 4), conv=SYM)
    description = describe(net, (8, 8, 8), spacing_mm=(1.0, 1.0, 5.0))
    assert description.symmetry == named_group("D4h", 3, axis=2)
    assert description.breaker is not None
    assert description.breaker.reason == "voxels of 1 × 1 × 5 mm differ between axes"
    cells = describe(UNet(2, 1, 2, channels=(2, 4), conv=SYM), (8, 8), spacing_mm=(0.00065, 0.0013))
    assert cells.rows[0].operator == "voxels 0.65 × 1.3 µm"
    assert cells.breaker is not None
    assert cells.breaker.reason == "voxels of 0.65 × 1.3 µm differ between axes"
    assert describe(net, (8, 8, 8), spacing_mm=(2.0, 2.0, 2.0)).symmetry == full_group(3)


@pytest.mark.parametrize(
    "net",
    [
        UNet(2, 1, 3, channels=(2, 4, 4), conv=SYM, deep_supervision=True, attention=ChannelAttention),
        UNet(2, 1, 3, channels=(2, 4), block=ResidualBlock, norm="batch", activation="gelu"),
        MonaiDynUNet(2, 1, 3, channels=(2, 4, 8), deep_supervision=True),
        MonaiSegResNet(2, 1, 3, channels=8, blocks_down=(1, 1), blocks_up=(1,)),
    ],
    ids=lambda net: type(net).__name__,
)
def test_parameters_add_up_to_those_of_the_network(net: SegmentationModel) -> None:
    assert describe(net, (16, 16)).parameters == sum(p.numel() for p in net.parameters())


def test_rows_tell_shapes_costs_and_folding() -> None:
    net = UNet(2, 1, 3, channels=(2, 4), conv=[StandardConv, GradientWeightedConv])
    rows = {row.name: row for row in describe(net, (8, 6)).rows}
    first = rows["encoder.blocks.0.units.0.conv"]
    assert (first.operator, first.input_shape, first.output_shape) == (
        "StandardConv 3×3",
        (1, 8, 6),
        (2, 8, 6),
    )
    assert (first.parameters, first.macs, first.foldable) == (18, 18 * 48, True)
    assert rows["encoder.blocks.1.units.0.conv"].foldable is False
    assert rows["encoder.downsamples.1"].output_shape == (2, 4, 3)
    up = rows["decoder.upsamples.0"]
    assert (up.input_shape, up.output_shape, up.parameters, up.macs) == ((4, 4, 3), (2, 8, 6), 10, 8 * 12)
    head = rows["heads.heads.0"]
    assert (head.operator, head.parameters, head.macs, head.foldable) == ("Conv2d 1×1", 9, 6 * 48, None)


def test_multiply_adds_are_those_that_torch_counts() -> None:
    net = UNet(2, 2, 3, channels=(4, 8), attention=ChannelAttention).eval()
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 2, 16, 16))
    assert describe(net, (16, 16)).macs == counter.get_total_flops() // 2


def test_describing_neither_computes_nor_changes_anything() -> None:
    net = UNet(3, 1, 2, channels=(8, 16), norm="batch").eval()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    description = describe(net, (2048, 2048, 2048))  # 34 GB, were it computed
    assert description.macs > 10**13
    assert not net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks for m in net.modules())


def test_a_layer_of_unknown_kind_counts_as_breaking() -> None:
    class _Mystery(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1

    net = UNet(2, 1, 2, channels=(2, 4), conv=SYM)
    net.encoder.blocks[1].units[0].activation = _Mystery()
    description = describe(net, (8, 8))
    assert description.symmetry.name == "C1"
    assert description.breaker is not None
    assert description.breaker.reason == "_Mystery is not known to have a symmetry"


def test_the_table_is_aligned_and_complete() -> None:
    description = describe(UNet(2, 1, 2, channels=(2, 4)), (16, 16))
    lines = str(description).splitlines()
    table = lines[: lines.index("")]
    assert len(table) == 2 + len(description.rows)
    column = table[0].index("operator")
    assert all(line[column - 2 : column] == "  " and line[column] != " " for line in table[2:])
    assert lines[-3:] == [
        f"{description.parameters:,} parameters, {description.macs / 1e6:.1f} million multiply-adds an image",
        "symmetry C1: 1 of 8 rotations and reflections",
        "first broken by encoder.blocks.0.units.0.conv: StandardConv has free weights",
    ]


def test_a_shape_of_another_rank_is_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"expected input_shape with 3 entries, one a spatial axis, got \(8, 8\)"
    ):
        describe(UNet(3, 1, 2, channels=(2, 4)), (8, 8))
