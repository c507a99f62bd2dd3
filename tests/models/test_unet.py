from __future__ import annotations

import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import yaml

from medconv.attention import Attention, AttentionGate, ChannelAttention, SkipAttention
from medconv.blocks import PlainBlock, ResidualBlock, Upsample
from medconv.errors import ConfigError, ShapeError
from medconv.models import SegmentationModel, UNet, build_network
from medconv.ops import ConvOp, GradientWeightedConv, StandardConv, SymmetricConv

SMALL = (2, 3, 4)


def operators(net: torch.nn.Module, side: str) -> list[ConvOp]:
    return [m for n, m in net.named_modules() if isinstance(m, ConvOp) and n.startswith(side)]


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (3, 50), (7, 8), (4, 4), (17, 31), (5, 1)])
@pytest.mark.parametrize("norm", ["instance", "batch", "group"])
@pytest.mark.parametrize("training", [True, False])
def test_any_size_works_also_one_image_at_a_time(size: tuple[int, ...], norm: str, training: bool) -> None:
    net = UNet(2, 1, 3, channels=SMALL, norm=norm).train(training)  # type: ignore[arg-type]
    y = net(torch.randn(1, 1, *size))
    assert y.shape == (1, 3, *size)
    assert y.isfinite().all()


@pytest.mark.parametrize("size", [(8, 8, 8), (1, 2, 3), (5, 9, 12)])
@pytest.mark.parametrize("upsample", ["linear", "nearest", "transpose"])
@pytest.mark.parametrize("downsample", ["max", "average", "stride"])
def test_every_way_of_sampling_keeps_the_size(size: tuple[int, ...], upsample: str, downsample: str) -> None:
    net = UNet(3, 2, 2, channels=SMALL, upsample=upsample, downsample=downsample)  # type: ignore[arg-type]
    assert net(torch.randn(1, 2, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("size", [(1, 1, 1), (4, 3, 5)])
@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, GradientWeightedConv])
def test_the_smallest_volumes_work_with_every_operator(size: tuple[int, ...], conv: type[ConvOp]) -> None:
    net = UNet(3, 1, 2, channels=SMALL, conv=conv)
    y = net(torch.randn(1, 1, *size))
    y.square().mean().backward()
    assert y.shape == (1, 2, *size)
    assert y.isfinite().all()


def test_a_padded_image_gives_what_its_padded_copy_gives() -> None:
    net = UNet(2, 1, 2, channels=SMALL).eval()
    x = torch.randn(1, 1, 10, 9)
    padded = F.pad(x, (1, 2, 1, 1))
    assert padded.shape[2:] == (12, 12)
    assert torch.equal(net(x), net(padded)[:, :, 1:11, 1:10])


def test_the_divisor_is_the_product_of_the_strides() -> None:
    net = UNet(3, 1, 2, channels=(2, 2, 2, 2), spacing_mm=(4.0, 1.0, 1.0))
    assert net.divisor == (2, 8, 8)
    assert isinstance(net, SegmentationModel)


def test_deep_supervision_returns_a_list_in_training_and_a_tensor_elsewhere() -> None:
    net = UNet(3, 1, 3, channels=(2, 2, 2, 2, 2), spacing_mm=(3.0, 1.0, 1.0), deep_supervision=True)
    x = torch.randn(1, 1, 8, 32, 16)
    outputs = net(x)
    assert [tuple(y.shape[2:]) for y in outputs] == [(8, 32, 16), (8, 16, 8), (4, 8, 4)]
    assert net.eval()(x).shape == (1, 3, 8, 32, 16)


@pytest.mark.parametrize(("stages", "heads"), [(3, 2), (4, 2), (5, 3), (6, 4)])
def test_heads_stand_at_every_decoder_stage_but_the_coarsest(stages: int, heads: int) -> None:
    net = UNet(2, 1, 2, channels=(2,) * stages, deep_supervision=True)
    assert len(net.heads.heads) == heads
    assert len(UNet(2, 1, 2, channels=(2,) * stages).heads.heads) == 1


def test_deep_supervision_without_a_coarser_output_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected at least 3 stages for deep_supervision, got 2"):
        UNet(2, 1, 2, channels=(2, 4), deep_supervision=True)


def test_where_the_image_was_padded_auxiliary_logits_come_at_full_size() -> None:
    net = UNet(2, 1, 2, channels=(2, 2, 2, 2), deep_supervision=True)
    assert [tuple(y.shape) for y in net(torch.randn(1, 1, 15, 16))] == [(1, 2, 15, 16)] * 2


@pytest.mark.parametrize("deep_supervision", [True, False])
@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, GradientWeightedConv])
def test_every_weight_is_saved_once_and_trained(conv: type[ConvOp], deep_supervision: bool) -> None:
    net = UNet(
        2, 1, 3, channels=SMALL, conv=conv, block=ResidualBlock, attention=ChannelAttention, norm="batch",
        deep_supervision=deep_supervision,
    )  # fmt: skip
    saved, trained = net.state_dict(), dict(net.named_parameters())
    assert len({t.data_ptr() for t in saved.values()}) == len(saved)
    assert trained.keys() <= saved.keys() <= trained.keys() | dict(net.named_buffers()).keys()
    outputs = net(torch.randn(2, 1, 16, 16))
    loss = sum(y.square().mean() for y in outputs) if deep_supervision else outputs.square().mean()
    loss.backward()
    untrained = {name for name, p in net.named_parameters() if p.grad is None}
    assert not untrained


def test_one_convolution_a_stage() -> None:
    convs = [StandardConv, SymmetricConv, partial(SymmetricConv, group="C2")]
    net = UNet(2, 1, 2, channels=SMALL, conv=convs)
    assert [type(op) for op in operators(net, "encoder")] == [StandardConv] * 2 + [SymmetricConv] * 4
    assert [op.group.name for op in operators(net, "encoder")[2:]] == ["D4", "D4", "C2", "C2"]
    assert [type(op) for op in operators(net, "decoder")] == [StandardConv] * 2 + [SymmetricConv] * 2


@pytest.mark.parametrize("choice", ["standard", None])
def test_an_operator_in_the_encoder_only(choice: str | None) -> None:
    net = UNet(2, 1, 2, channels=SMALL, conv=SymmetricConv, decoder_conv=choice)  # type: ignore[arg-type]
    assert {type(op) for op in operators(net, "encoder")} == {SymmetricConv}
    assert {type(op) for op in operators(net, "decoder")} == {StandardConv}


def test_another_operator_in_the_decoder_once_or_one_a_stage() -> None:
    net = UNet(2, 1, 2, channels=SMALL, decoder_conv=SymmetricConv)
    assert {type(op) for op in operators(net, "decoder")} == {SymmetricConv}
    net = UNet(2, 1, 2, channels=SMALL, decoder_conv=[SymmetricConv, StandardConv])
    assert [type(op) for op in operators(net, "decoder")] == [SymmetricConv] * 2 + [StandardConv] * 2


def test_one_block_and_one_attention_a_stage() -> None:
    blocks = [PlainBlock, ResidualBlock, partial(ResidualBlock, depth=3)]
    net = UNet(2, 1, 2, channels=SMALL, block=blocks, attention=[None, ChannelAttention, ChannelAttention])
    assert [type(b) for b in net.encoder.blocks] == [PlainBlock, ResidualBlock, ResidualBlock]
    assert [len(b.units) for b in net.encoder.blocks] == [2, 2, 3]
    assert [type(b) for b in net.decoder.blocks] == [PlainBlock, ResidualBlock]
    owners = {n.rsplit(".attention", 1)[0] for n, m in net.named_modules() if isinstance(m, ChannelAttention)}
    assert owners == {"encoder.blocks.1", "encoder.blocks.2", "decoder.blocks.1"}


def test_operators_know_the_spacing_of_their_stage() -> None:
    net = UNet(3, 1, 2, channels=(2, 2, 2), conv=SymmetricConv, spacing_mm=(4.0, 1.0, 1.0))
    encoder = [op.spacing_mm for op in operators(net, "encoder")]
    assert encoder == [(4.0, 1.0, 1.0)] * 2 + [(4.0, 2.0, 2.0)] * 2 + [(4.0, 4.0, 4.0)] * 2
    assert [op.group.name for op in operators(net, "encoder")] == ["D4h"] * 4 + ["Oh"] * 2
    assert [op.spacing_mm for op in operators(net, "decoder")] == encoder[:4]


def test_with_strides_the_first_operator_of_a_stage_knows_the_finer_spacing() -> None:
    net = UNet(2, 1, 2, channels=(2, 2), downsample="stride")
    first, second = operators(net, "encoder.blocks.1")
    assert (first.stride, first.spacing_mm) == ((2, 2), (1.0, 1.0))
    assert (second.stride, second.spacing_mm) == ((1, 1), (2.0, 2.0))


def test_explicit_kernels_and_strides() -> None:
    net = UNet(3, 1, 2, channels=(2, 2), kernel_sizes=[(1, 5, 5), 3], strides=[1, (1, 2, 4)])
    assert [op.kernel_size for op in operators(net, "encoder")] == [(1, 5, 5)] * 2 + [(3, 3, 3)] * 2
    assert net.divisor == (1, 2, 4)
    assert [m.stride for m in net.modules() if isinstance(m, Upsample)] == [(1, 2, 4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conv": [StandardConv]}, "expected conv once or as a list with one entry a stage, 3; got 1"),
        ({"block": [PlainBlock] * 4}, "expected block once or as a list with one entry a stage, 3; got 4"),
        ({"attention": [None]}, "expected attention once or as a list"),
        ({"decoder_conv": [StandardConv] * 3}, "expected decoder_conv once or as a list.*2; got 3"),
        ({"channels": (2, 0, 2)}, r"expected channels from 1 to 4096, got \[2, 0, 2\]"),
        ({"channels": (2, 5000, 2)}, "expected channels from 1 to 4096"),
        ({"channels": (2,)}, "expected 2 to 10 stages"),
        ({"in_channels": 0}, "expected in_channels and num_classes from 1, got 0 and 2"),
        ({"dropout": 1.5}, "expected dropout from 0"),
        ({"norm": "layer"}, "no norm 'layer'"),
        ({"downsample": "pool"}, "no pooling 'pool'"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        UNet(**({"spatial_dims": 2, "in_channels": 1, "num_classes": 2, "channels": SMALL} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 1, 8), (1, 2, 8, 8), (1, 1, 8, 8, 8), (1, 1, 0, 8), (0, 1, 8, 8)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"UNet: expected \(B, 1, H, W\), none of them 0, got"):
        UNet(2, 1, 2, channels=SMALL)(torch.zeros(shape))


def test_the_network_pickles_copies_and_restores() -> None:
    net = UNet(2, 1, 2, channels=SMALL, conv=SymmetricConv, attention=ChannelAttention).eval()
    x = torch.randn(1, 1, 9, 9)
    other = UNet(2, 1, 2, channels=SMALL, conv=SymmetricConv, attention=ChannelAttention).eval()
    assert not torch.allclose(other(x), net(x))
    other.load_state_dict(net.state_dict())
    for copy in (other, deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(copy(x), net(x))


def test_one_image_is_segmented_the_same_alone_and_in_a_batch() -> None:
    net = UNet(2, 1, 2, channels=SMALL, conv=GradientWeightedConv, attention=ChannelAttention).eval()
    x = torch.randn(3, 1, 12, 12)
    torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, GradientWeightedConv])
def test_half_precision_stays_finite_and_close(conv: type[ConvOp]) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8, 8), conv=conv, attention=ChannelAttention).eval()
    x = torch.randn(1, 1, 32, 32) * 3
    expected = net(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = net(x)
    assert y.isfinite().all()
    assert float((y.float() - expected).norm() / expected.norm()) < 5e-2


@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, GradientWeightedConv])
def test_the_loss_falls_on_one_memorised_image(conv: type[ConvOp]) -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8), conv=conv)
    target = torch.zeros(1, 16, 16, dtype=torch.long)
    target[:, 4:12, 4:12] = 1
    x = target[:, None] + 0.3 * torch.randn(1, 1, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(net(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # inside torch.compile
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # as well
@pytest.mark.parametrize("conv", [StandardConv, SymmetricConv, GradientWeightedConv])
@pytest.mark.parametrize(("size", "backend"), [((16, 16), "inductor"), ((15, 13), "aot_eager")])
def test_the_whole_network_compiles_without_a_break(
    conv: type[ConvOp], size: tuple[int, ...], backend: str
) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    net = UNet(2, 1, 2, channels=(2, 4, 4), conv=conv, attention=ChannelAttention, deep_supervision=True)
    x = torch.randn(1, 1, *size)
    compiled = torch.compile(net, fullgraph=True, backend=backend)
    for y, expected in zip(compiled(x), net(x), strict=True):
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-4)


ATTENTION = """
class_path: UNet
init_args:
  spatial_dims: 3
  in_channels: 1
  num_classes: 2
  channels: [4, 8, 8]
  attention: [CBAM, {class_path: SCSE, init_args: {combine: add}}, SelfAttention]
  skip_attention: {class_path: AttentionGate, init_args: {hidden: 2}}
"""


def test_attention_of_every_kind_from_yaml() -> None:
    net = build_network(yaml.safe_load(ATTENTION))
    kinds = [type(m).__name__ for m in net.modules() if isinstance(m, Attention | SkipAttention)]
    assert kinds.count("AttentionGate") == 2
    assert kinds.count("SelfAttention") == 1
    assert {"CBAM", "SCSE"} <= set(kinds)
    net(torch.randn(1, 1, 8, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_gated_network_begins_as_the_one_without_gates() -> None:
    def build(**options: object) -> UNet:
        torch.manual_seed(0)
        return UNet(2, 1, 2, channels=SMALL, **options)  # type: ignore[arg-type]

    plain, gated = build(), build(skip_attention=[AttentionGate, None])
    x = torch.randn(1, 1, 16, 16)
    gated.load_state_dict(plain.state_dict() | {k: v for k, v in gated.state_dict().items() if "skip" in k})
    assert torch.equal(gated(x), plain(x))
    assert isinstance(gated.decoder.skip_attentions[0], AttentionGate)
    torch.nn.init.normal_(gated.decoder.skip_attentions[0].last.weight)
    assert not torch.allclose(gated(x), plain(x))


def test_skip_attention_has_no_place_at_the_coarsest_stage() -> None:
    message = "expected skip_attention once or as a list with one entry a stage but the coarsest, 2; got 3"
    with pytest.raises(ConfigError, match=message):
        UNet(2, 1, 2, channels=SMALL, skip_attention=[AttentionGate] * 3)
    with pytest.raises(ConfigError, match="expected a SkipAttention that can be built, got"):
        build_network({"class_path": "UNet", "init_args": {
            "spatial_dims": 2, "in_channels": 1, "num_classes": 2,
            "skip_attention": "medconv.attention.ChannelAttention"}})  # fmt: skip
