"""Norm, nonlinearity and channel gate in one, against the three one after the other in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch

pytest.importorskip("triton")

from medconv.attention import ChannelAttention
from medconv.blocks import ConvUnit
from medconv.kernels import is_channels_last, to_channels_last
from medconv.kernels.gated_norm import GatedInstanceNormAct
from medconv.kernels.instance_norm import plain_instance_norm_act
from medconv.ops import StandardConv

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SHAPES = [(2, 3, 5, 4, 6), (1, 40, 4, 4, 4), (2, 8, 13, 11)]


def layer(channels, dims=3, **character):
    torch.manual_seed(1)
    attention = ChannelAttention(dims, channels, **character).to(DEVICE)
    torch.nn.init.normal_(attention.excite.last.weight)  # it starts as the identity, which shows nothing
    return attention


def inputs(shape):
    torch.manual_seed(0)
    x = to_channels_last(torch.randn(shape, device=DEVICE) * 3)
    return x, torch.rand(shape[1], device=DEVICE) + 0.5, torch.randn(shape[1], device=DEVICE)


def gated(x, weight, bias, slope, gate):
    return GatedInstanceNormAct.apply(x, weight, bias, *gate.gate_perceptron(), 1e-5, slope)


@pytest.mark.parametrize("character", [{}, {"gate": "sigmoid", "reduction": 3}], ids=str)
@pytest.mark.parametrize("slope", [0.01, pytest.param(0.0, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_the_three_layers(shape, slope, character):
    gate = layer(shape[1], len(shape) - 2, **character)
    tensors = [t.requires_grad_() for t in inputs(shape)]
    exact = [t.detach().double().contiguous().requires_grad_() for t in tensors]
    exact_gate = layer(shape[1], len(shape) - 2, **character).double()
    y = gated(*tensors, slope, gate)
    expected = exact_gate(plain_instance_norm_act(*exact, 1e-5, slope))
    assert is_channels_last(y)
    torch.testing.assert_close(y.double(), expected, atol=5e-5, rtol=5e-5)
    g = torch.randn_like(y)
    got = torch.autograd.grad(y, [*tensors, *gate.parameters()], g)
    wanted = torch.autograd.grad(expected, [*exact, *exact_gate.parameters()], g.double().contiguous())
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-4 * float(b.detach().abs().max()) + 1e-6, rtol=1e-3)


def test_the_gradient_may_be_asked_for_twice_and_in_any_layout():
    x, weight, bias = inputs((2, 6, 4, 5, 3))
    y = gated(x.requires_grad_(), weight, bias, 0.01, layer(6))
    whole = to_channels_last(torch.randn(2, 12, 4, 5, 3, device=DEVICE))
    layouts = (whole[:, 3:9], whole[:, 3:9].contiguous(), to_channels_last(whole[:, 3:9]))
    first, *others = (torch.autograd.grad(y, x, grad, retain_graph=True)[0] for grad in layouts)
    for other in others:
        assert torch.equal(other, first)


def test_weights_in_half_precision_get_gradients_of_their_own_type():
    gate = layer(6).bfloat16()
    x, weight, bias = inputs((2, 6, 4, 5, 3))
    y = gated(x, weight, bias, 0.01, gate)
    exact = layer(6).bfloat16().float()
    torch.testing.assert_close(
        y, exact(plain_instance_norm_act(x, weight, bias, 1e-5, 0.01)), atol=1e-4, rtol=1e-4
    )
    assert {g.dtype for g in torch.autograd.grad(y.sum(), list(gate.parameters()))} == {torch.bfloat16}


def test_only_a_perceptron_of_the_means_is_offered_and_only_one_that_fits():
    perceptron = layer(16).gate_perceptron()
    means = torch.randn(2, 16, device=DEVICE)
    expected = 2 * torch.sigmoid(layer(16).excite(means))
    torch.testing.assert_close(perceptron.of_means(means), expected)
    assert perceptron.fits(16)
    assert not perceptron.fits(8)  # the layer itself says what it expected
    assert not ChannelAttention(3, 1024, reduction=4).gate_perceptron().fits(1024)
    without_bias = layer(16)
    without_bias.excite.last = torch.nn.Linear(4, 16, bias=False)
    assert without_bias.gate_perceptron() is None
    assert ChannelAttention(3, 16, kind="eca").gate_perceptron() is None
    assert ChannelAttention(3, 16, squeeze="mean_max").gate_perceptron() is None


class _Halved(ChannelAttention):
    def forward(self, x):
        return super().forward(x) / 2


@pytest.mark.parametrize("part", ["norm", "attention"])
@pytest.mark.parametrize(
    "listen", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"]
)
def test_who_listens_to_a_part_is_heard(part, listen, monkeypatch):
    monkeypatch.setattr(
        "medconv.blocks.normalisation.gated_instance_norm_act", lambda *_: pytest.fail("not asked")
    )
    unit = ConvUnit(3, 2, 4, conv=StandardConv, attention=ChannelAttention)
    heard = []
    getattr(getattr(unit, part), listen)(lambda *_: heard.append(1) and None)
    unit(torch.randn(1, 2, 4, 4, 4, requires_grad=True)).sum().backward()
    assert heard == [1]


def test_who_listens_inside_the_gate_is_heard(monkeypatch):
    monkeypatch.setattr(
        "medconv.blocks.normalisation.gated_instance_norm_act", lambda *_: pytest.fail("not asked")
    )
    unit = ConvUnit(3, 2, 4, conv=StandardConv, attention=ChannelAttention)
    heard = []
    unit.attention.excite.last.register_forward_hook(lambda *_: heard.append(1))
    unit(torch.randn(1, 2, 4, 4, 4))
    assert heard == [1]


def test_a_unit_takes_the_quick_way_unless_somebody_listens(monkeypatch):
    taken = []
    monkeypatch.setattr(
        "medconv.blocks.normalisation.gated_instance_norm_act", lambda *given: taken.append(given[0].shape)
    )
    unit = ConvUnit(3, 2, 4, conv=StandardConv, attention=ChannelAttention)
    x = torch.randn(1, 2, 4, 4, 4)
    y = unit(x)  # None from the quick way: the slow one follows
    assert taken == [(1, 4, 4, 4, 4)]
    heard = []
    handle = unit.attention.register_forward_hook(lambda *_: heard.append(1))
    assert torch.equal(unit(x), y)
    assert (len(taken), len(heard)) == (1, 1)
    handle.remove()
    for other in (
        ConvUnit(3, 2, 4, conv=StandardConv, attention=_Halved),
        ConvUnit(3, 2, 4, conv=StandardConv, attention=partial(ChannelAttention, kind="eca")),
        ConvUnit(3, 2, 4, conv=StandardConv, attention=ChannelAttention, norm="batch"),
        ConvUnit(3, 2, 4, conv=StandardConv, attention=ChannelAttention, activation="gelu"),
        ConvUnit(3, 2, 4, conv=StandardConv),
    ):
        other(x)
    assert len(taken) == 1


@pytest.mark.gpu
def test_on_a_gpu_a_unit_gives_the_same_on_the_quick_way(monkeypatch):
    unit = to_channels_last(ConvUnit(3, 32, 48, conv=StandardConv, attention=ChannelAttention).cuda())
    torch.nn.init.normal_(unit.attention.excite.last.weight)
    x = to_channels_last(torch.randn(2, 32, 12, 12, 12, device="cuda")).requires_grad_()

    def run():
        with torch.autocast("cuda", torch.bfloat16):
            y = unit(x)
        return y.float(), *torch.autograd.grad(y.float().square().mean(), [x, *unit.parameters()])

    got = run()
    monkeypatch.setattr("medconv.blocks.unit.ConvUnit._gated", lambda *_: None)
    for a, b in zip(got, run(), strict=True):
        torch.testing.assert_close(a, b, atol=3e-2 * float(b.detach().abs().max()), rtol=0)
