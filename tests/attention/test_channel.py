from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.blocks import ChannelSELayer
from torch import nn

from medconv.attention import Attention, AttentionFactory, ChannelAttention, attention_catalogue
from medconv.errors import ConfigError, ShapeError
from medconv.ops import act, full_group

KINDS: list[Any] = ["se", "eca"]
SIZES = {2: (6, 5), 3: (6, 5, 4)}


def awake(*args: Any, **kwargs: Any) -> ChannelAttention:
    """A layer whose gates differ from its start, in float64."""
    torch.manual_seed(0)
    layer = ChannelAttention(*args, **kwargs).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 4, 16, 40])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dims", [2, 3])
def test_begins_as_the_identity_bit_by_bit(dims: int, batch: int, channels: int, kind: Any) -> None:
    x = torch.randn(batch, channels, *SIZES[dims])
    assert torch.equal(ChannelAttention(dims, channels, kind=kind)(x), x)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            assert torch.equal(ChannelAttention(dims, channels, kind=kind)(x.to(dtype)), x.to(dtype))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 4, 16])
def test_published_gate_begins_between_nothing_and_everything(channels: int, kind: Any) -> None:
    gates = ChannelAttention(2, channels, kind=kind, gate="sigmoid").gates(torch.randn(3, channels, 4, 4))
    assert gates.shape == (3, channels)
    assert ((gates > 0) & (gates < 1)).all()
    assert ((gates - 0.5).abs() > 1e-6).any(), "its last layer is not zero"


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_sigmoid_gate_is_the_layer_of_monai(dims: int, batch: int) -> None:
    ours = ChannelAttention(dims, 16, reduction=2, gate="sigmoid")
    oracle = ChannelSELayer(dims, 16, r=2, acti_type_1=("relu", {"inplace": False}))
    ours.excite.hidden.load_state_dict(oracle.fc[0].state_dict())
    ours.excite.last.load_state_dict(oracle.fc[2].state_dict())
    x = torch.randn(batch, 16, *SIZES[dims]) + 0.5
    torch.testing.assert_close(ours(x), oracle(x), atol=1e-6, rtol=0)
    centred = ChannelAttention(dims, 16, reduction=2)
    centred.load_state_dict(ours.state_dict())
    torch.testing.assert_close(centred(x), 2 * oracle(x), atol=2e-6, rtol=0)


def test_efficient_form_sees_the_neighbouring_channels_only() -> None:
    layer = awake(2, 64, kind="eca", gate="sigmoid")
    (weight,) = (p.detach().flatten() for p in layer.parameters())
    assert len(weight) == 3, "odd from |log2(64) / 2 + 1 / 2|"
    x = torch.randn(2, 64, 3, 3, dtype=torch.float64)
    means = nn.functional.pad(x.mean(dim=(2, 3)), [1, 1])
    expected = sum(w * means[:, i : i + 64] for i, w in enumerate(weight)).sigmoid()
    torch.testing.assert_close(layer.gates(x), expected)


@pytest.mark.parametrize(("channels", "size"), [(1, 1), (4, 1), (16, 3), (64, 3), (128, 5), (512, 5)])
def test_efficient_form_has_the_published_filter_size(channels: int, size: int) -> None:
    assert sum(p.numel() for p in ChannelAttention(3, channels, kind="eca").parameters()) == size


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 8, 8), (64, 16, 4), (8, 8, 4), (1, 8, 4)])
def test_hidden_layer_never_narrows_below_four(channels: int, reduction: int, hidden: int) -> None:
    layer = ChannelAttention(2, channels, reduction=reduction)
    expected = 2 * channels * hidden + hidden + channels
    assert sum(p.numel() for p in layer.parameters()) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_one_factor_for_a_channel_from_that_case_alone(dims: int, kind: Any) -> None:
    layer = awake(dims, 6, kind=kind)
    x = torch.randn(3, 6, *SIZES[dims], dtype=torch.float64)
    ratio = (layer(x) / x).flatten(2)
    torch.testing.assert_close(ratio, layer.gates(x)[..., None].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 2)).all()
    for i in range(3):
        torch.testing.assert_close(layer(x[i : i + 1]), layer(x)[i : i + 1], atol=1e-14, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_every_symmetry_of_the_grid(dims: int, kind: Any) -> None:
    layer = awake(dims, 4, kind=kind)
    x = torch.randn(1, 4, *[5] * dims, dtype=torch.float64)
    group = layer.symmetry()
    assert group == full_group(dims)
    for g in group:
        torch.testing.assert_close(layer(act(x, g)), act(layer(x), g), atol=1e-13, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gate_does_not_change_when_voxels_change_places(kind: Any) -> None:
    layer = awake(2, 4, kind=kind)
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    shuffled = x.flatten(2)[..., torch.randperm(36)].reshape(x.shape)
    torch.testing.assert_close(layer.gates(shuffled), layer.gates(x))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree_with_finite_differences(kind: Any) -> None:
    layer = awake(2, 4, kind=kind)
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64, requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]

    def call(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)

    assert torch.autograd.gradcheck(call, (x, *values))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_over_a_volume_does_not_overflow_float16(kind: Any) -> None:
    layer = awake(3, 2, kind=kind).float()
    x = torch.full((1, 2, 64, 64, 64), 4.0, dtype=torch.float16)  # its sum is a million
    with torch.autocast("cpu", dtype=torch.float16):
        y = layer(x)
    assert y.dtype == torch.float16
    assert y.isfinite().all()
    torch.testing.assert_close(y[..., 0, 0, 0].float(), layer(x.float())[..., 0, 0, 0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_means_are_not_rounded_to_the_precision_of_the_input(kind: Any) -> None:
    layer = awake(2, 4, kind=kind).float()
    x = torch.rand(1, 4, 9, 9).half()
    torch.testing.assert_close(layer.gates(x), layer.gates(x.float()), atol=1e-6, rtol=0)


def test_works_when_the_whole_module_is_half() -> None:
    layer = ChannelAttention(2, 8).bfloat16()
    x = torch.randn(1, 8, 4, 4, dtype=torch.bfloat16)
    assert torch.equal(layer(x), x)


def test_shapes_can_be_tried_on_the_meta_device() -> None:
    layer = ChannelAttention(3, 8).to("meta")
    assert layer(torch.empty(1, 8, 4, 4, 4, device="meta")).shape == (1, 8, 4, 4, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_directly_behind_an_instance_norm_the_gate_is_a_constant(kind: Any) -> None:
    # why the layer belongs behind the activation: the mean of what leaves the norm is its bias
    layer, norm = awake(3, 6, kind=kind), nn.InstanceNorm3d(6, affine=True).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    inputs = (
        torch.randn(2, 6, 5, 5, 5, dtype=torch.float64),
        3 + torch.rand(2, 6, 5, 5, 5, dtype=torch.float64) ** 8,  # another shape of histogram
    )
    for x in inputs:
        means = norm(x).mean(dim=(2, 3, 4))
        torch.testing.assert_close(means, norm.bias.expand_as(means), atol=1e-13, rtol=0)
    torch.testing.assert_close(layer.gates(norm(inputs[0])), layer.gates(norm(inputs[1])), atol=1e-12, rtol=0)
    behind_activation = [layer.gates(norm(x).relu()) for x in inputs]
    assert (behind_activation[0] - behind_activation[1]).abs().max() > 1e-3


def test_directly_before_an_instance_norm_the_layer_is_without_effect() -> None:
    layer, norm = awake(2, 6), nn.InstanceNorm2d(6, eps=0).double()
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(norm(layer(x)), norm(x), atol=1e-12, rtol=0)


def test_is_listed_and_fits_the_slot() -> None:
    factory: AttentionFactory = ChannelAttention
    assert isinstance(factory(2, 8), Attention)
    assert attention_catalogue()["ChannelAttention"] is ChannelAttention


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"ChannelAttention: expected \(B, 4, D, H, W\), got \(1, 4, 8, 8\)"):
        ChannelAttention(3, 4)(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ShapeError, match=r"expected \(B, 4, H, W\), got \(1, 3, 8, 8\)"):
        ChannelAttention(2, 4)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match=r"expected kind 'se' or 'eca', gate .*, got 'cbam', 'centred', 8"):
        ChannelAttention(2, 4, kind="cbam")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="reduction=4 has no effect with kind='eca'; leave it out"):
        ChannelAttention(2, 4, kind="eca", reduction=4)
    with pytest.raises(ConfigError, match="expected at least 1 channel, got 0"):
        ChannelAttention(2, 0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
@pytest.mark.parametrize("kind", KINDS)
def test_compiles_whole(kind: Any) -> None:
    layer = awake(3, 4, kind=kind).float()
    x = torch.randn(2, 4, 5, 5, 5)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), atol=1e-5, rtol=1e-5)
