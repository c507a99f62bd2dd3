from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.networks.nets.attentionunet import AttentionBlock
from torch import nn

from medconv.attention import AttentionGate
from medconv.errors import ConfigError, ShapeError
from medconv.ops import act, full_group

SIZES = {2: (6, 5), 3: (5, 4, 3)}


def awake(*args: Any, **kwargs: Any) -> AttentionGate:
    torch.manual_seed(0)
    layer = AttentionGate(*args, **kwargs).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("dims", [2, 3])
def test_without_norms_it_is_the_block_of_monai_without_its_batch_norms(dims: int) -> None:
    oracle = AttentionBlock(dims, f_int=4, f_g=6, f_l=6)
    for part in (oracle.W_g, oracle.W_x, oracle.psi):
        part[1] = nn.Identity()
    layer = AttentionGate(dims, 6, hidden=4, norm="none", gate="sigmoid")
    layer.from_skip.load_state_dict(oracle.W_x[0].conv.state_dict())
    layer.from_decoded.load_state_dict(oracle.W_g[0].conv.state_dict())
    layer.last.load_state_dict(oracle.psi[0].conv.state_dict())
    skip, decoded = torch.randn(2, 2, 6, *SIZES[dims]).unbind()
    torch.testing.assert_close(layer(skip, decoded), oracle(g=decoded, x=skip), atol=1e-6, rtol=0)


@pytest.mark.parametrize("norm", ["instance", "none"])
@pytest.mark.parametrize("channels", [1, 4, 16])
@pytest.mark.parametrize("dims", [2, 3])
def test_begins_as_the_identity_bit_by_bit(dims: int, channels: int, norm: Any) -> None:
    for batch in (1, 2):
        skip, decoded = torch.randn(2, batch, channels, *SIZES[dims]).unbind()
        layer = AttentionGate(dims, channels, norm=norm)
        assert torch.equal(layer(skip, decoded), skip)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(layer(skip.bfloat16(), decoded.bfloat16()), skip.bfloat16())


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_both_maps_decide_each_case_for_itself(norm: Any) -> None:
    layer = awake(2, 4, norm=norm)
    skip, decoded = torch.randn(2, 3, 4, 6, 5, dtype=torch.float64).unbind()
    gates = layer.gates(skip, decoded)
    assert gates.shape == (3, 1, 6, 5)
    assert ((gates > 0) & (gates < 2)).all()
    assert (layer.gates(skip, decoded.flip(0)) - gates).abs().max() > 1e-2
    assert (layer.gates(skip.flip(0), decoded) - gates).abs().max() > 1e-2
    torch.testing.assert_close(layer.gates(skip[:1], decoded[:1]), gates[:1], atol=1e-12, rtol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_commutes_with_every_symmetry_of_the_grid(dims: int) -> None:
    layer = awake(dims, 4)
    skip, decoded = torch.randn(2, 1, 4, *[4] * dims, dtype=torch.float64).unbind()
    assert layer.symmetry() == full_group(dims)
    for g in full_group(dims):
        turned = layer(act(skip, g), act(decoded, g))
        torch.testing.assert_close(turned, act(layer(skip, decoded), g), atol=1e-12, rtol=0)


@pytest.mark.slow
def test_gradients_agree_with_finite_differences() -> None:
    layer = awake(2, 3, hidden=2)
    skip, decoded = torch.randn(2, 1, 3, 3, 3, dtype=torch.float64).unbind()
    names = [name for name, _ in layer.named_parameters()]

    def call(skip: torch.Tensor, decoded: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (skip, decoded))

    values = [p.detach().clone().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(
        call, (skip.clone().requires_grad_(), decoded.clone().requires_grad_(), *values)
    )


def test_travels() -> None:
    layer = awake(2, 4)
    skip, decoded = torch.randn(2, 1, 4, 5, 5, dtype=torch.float64).unbind()
    fresh = AttentionGate(2, 4).double()
    fresh.load_state_dict(layer.state_dict())
    for twin in (fresh, copy.deepcopy(layer)):
        assert torch.equal(twin(skip, decoded), layer(skip, decoded))
    assert "4, gate=centred" in repr(layer)


def test_refuses_maps_and_settings_that_do_not_fit() -> None:
    layer = AttentionGate(2, 4)
    with pytest.raises(
        ShapeError, match=r"on the grid of the skip, \(1, 4, 8, 8\), got \(1, 4, 4, 4\); upsam"
    ):
        layer(torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 4, 4))
    with pytest.raises(ShapeError, match=r"AttentionGate: expected \(B, 4, H, W\), got \(1, 3, 8, 8\)"):
        layer(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="expected norm 'instance' or 'none', got 'batch'"):
        AttentionGate(2, 4, norm="batch")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="expected hidden from 1, got 0"):
        AttentionGate(2, 4, hidden=0)
